/**
 * Signals while another program has the terminal: what ends us ends it first.
 *
 * @module
 */

import { signalIfThere } from "../lib/core/process.ts";

/** What is passed on: the end of a session, and the wish that we end. */
const PASSED = ["SIGTERM", "SIGHUP"] as const;

/**
 * Has signals meant for `child` and for this process reach the child, which decides what they mean,
 * until it is disposed. Ctrl-C reaches both by the terminal, so it is only kept from ending us first.
 */
export function passSignals(child: Deno.ChildProcess): Disposable {
  const ignore = (): void => {};
  const passing = PASSED.map((name) => ({ name, pass: () => signalIfThere(child, name) }));
  Deno.addSignalListener("SIGINT", ignore);
  for (const { name, pass } of passing) Deno.addSignalListener(name, pass);
  return {
    [Symbol.dispose]: () => {
      Deno.removeSignalListener("SIGINT", ignore);
      for (const { name, pass } of passing) Deno.removeSignalListener(name, pass);
    },
  };
}
