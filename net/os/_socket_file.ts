/**
 * The files of unix sockets.
 *
 * @module
 */

/** Mode bits that the file of a unix socket does not have: nobody else may connect. */
export const OTHERS_MASK = 0o177;

/** Removes a socket's file; anything else at the path stays, and is in the way. */
export function removeSocketFile(path: string): void {
  try {
    if (Deno.lstatSync(path).isSocket === true) Deno.removeSync(path);
  } catch {
    // Not there, or not ours: whoever binds says what is wrong.
  }
}
