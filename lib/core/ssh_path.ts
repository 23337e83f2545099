/**
 * Paths in settings of ssh (ssh_config(5)).
 *
 * @module
 */

/**
 * A path as the value of a setting of ssh: it takes quotes and backslashes away and then replaces what
 * begins with a percent sign. `-i` would not do: it also looks for the file under the name as it is
 * written. `${` cannot be said at all; the command line refuses such a home.
 */
export function sshPath(path: string): string {
  return `"${path.replace(/["\\]/g, "\\$&").replaceAll("%", "%%")}"`;
}
