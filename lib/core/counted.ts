/**
 * Numbers of things, in words for people.
 *
 * @module
 */

/** So many of what is counted by adding an s: `1 VM`, `2 VMs`. */
export function counted(n: number, what: string): string {
  return `${n} ${what}${n === 1 ? "" : "s"}`;
}
