/**
 * Sockets in another network namespace (network_namespaces(7)): a socket belongs for good to the
 * namespace that its thread was in when it was made, so one process can have sockets in many.
 *
 * @module
 */

import { EXIT, OmertaError } from "../../lib/core/errors.ts";
import { cString, errnoName, Fd, needLibc } from "./libc.ts";

const CLONE_NEWNET = 0x40000000;
const O_CLOEXEC = 0x80000;
const OWN = "/proc/thread-self/ns/net";

/**
 * Runs `work` with this thread in the namespace at `path`, e.g. `/run/netns/NAME`, and comes back.
 * `work` makes its sockets before it returns: a promise that makes one later makes it here.
 *
 * @throws {OmertaError} `namespace-failed`; whatever `work` throws.
 */
export function insideNamespace<T>(path: string, work: () => T): T {
  const c = needLibc("use a network namespace");
  const open = (file: string): Fd => {
    const number = c.call.open(cString(file), O_CLOEXEC);
    if (number < 0) throw failed("open", file, errnoName(c.errno()));
    return new Fd(c, number);
  };
  using own = open(OWN);
  using other = open(path);
  if (c.call.setns(other.number, CLONE_NEWNET) !== 0) {
    throw failed("enter", path, errnoName(c.errno()));
  }
  try {
    return work();
  } finally {
    // Nothing may be sent from the wrong network: a thread that cannot come back ends here.
    if (c.call.setns(own.number, CLONE_NEWNET) !== 0) Deno.exit(EXIT.failed);
  }
}

function failed(what: string, path: string, why: string): OmertaError {
  return new OmertaError(
    "namespace-failed",
    `Cannot ${what} the network namespace ${path}: ${why}`,
    { exit: EXIT.missing, next: "Run it as root" },
  );
}
