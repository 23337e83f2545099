/**
 * The exit code of a command that has done its work but does not end with 0.
 *
 * @module
 */

let code = 0;

/** Has the program end with this code, e.g. that of the ssh it ran. */
export function endWith(exitCode: number): void {
  code = exitCode;
}

/** What {@link endWith} said last; 0 when nothing. */
export function exitCode(): number {
  return code;
}
