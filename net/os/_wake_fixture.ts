/**
 * A worker that wakes whoever polls the descriptor it is sent; for the reactor's test.
 *
 * @module
 */

import { Waker } from "./reactor.ts";

addEventListener("message", (event) => {
  if (event instanceof MessageEvent) Waker.wakeFd(event.data);
  close();
});
