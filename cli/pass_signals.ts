/**
 * Signals while another program has the terminal: what ends us ends it first.
 *
 * @module
 */

import { signalIfThere } from "../lib/core/process.ts";

/** What is passed on: the end of a session, and the wish that we end. */
const PASSED = ["SIGINT", "SIGTERM", "SIGHUP"] as const;

/**
 * Has signals meant for `child` and for this process reach the child, which decides what they mean,
 * until it is disposed. A Ctrl-C that the terminal has sent to both reaches it twice: nobody can tell
 * that from a SIGINT meant for us, and ssh and scp, which then end, take the second for the first.
 */
export function passSignals(child: Deno.ChildProcess): Disposable {
  const passing = PASSED.map((name) => ({ name, pass: () => signalIfThere(child, name) }));
  for (const { name, pass } of passing) Deno.addSignalListener(name, pass);
  return {
    [Symbol.dispose]: () => {
      for (const { name, pass } of passing) Deno.removeSignalListener(name, pass);
    },
  };
}
