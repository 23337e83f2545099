/**
 * The end of standard output in a program that goes on.
 *
 * @module
 */

import { libc } from "../net/os/libc.ts";

const STDIN = 0;
const STDOUT = 1;
const SHUT_WR = 1;
/** Where Linux shows what the descriptors of this process are. */
const DESCRIPTORS = "/proc/self/fd";

/**
 * Has whoever reads standard output see its end. The runtime keeps a second descriptor of it, which
 * its own `close()` leaves open.
 *
 * @returns Whether that could be done; on Linux it can.
 */
export function closeStandardOutput(): boolean {
  const c = libc();
  if (c === undefined) return false;
  // A socket may be standard input as well, and that is to stay.
  if (c.call.shutdown(STDOUT, SHUT_WR) === 0) return true;
  const output = Deno.readLinkSync(`${DESCRIPTORS}/${STDOUT}`);
  const numbers = Array.from(Deno.readDirSync(DESCRIPTORS), ({ name }) => Number(name));
  for (const number of numbers) {
    if (number !== STDIN && isSame(number, output)) c.call.close(number);
  }
  return true;
}

function isSame(descriptor: number, what: string): boolean {
  try {
    return Deno.readLinkSync(`${DESCRIPTORS}/${descriptor}`) === what;
  } catch {
    return false; // it was the one that read the folder
  }
}
