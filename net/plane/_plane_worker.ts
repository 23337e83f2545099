/**
 * The main module of a packet thread, for tests.
 *
 * @module
 */

import { servePlane } from "./worker.ts";

servePlane();
