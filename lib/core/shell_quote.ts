/**
 * Words for a POSIX shell: {@link https://pubs.opengroup.org/onlinepubs/9699919799/utilities/V3_chap02.html#tag_18_02 | XCU 2.2}.
 *
 * @module
 */

/**
 * A word that every POSIX shell reads as exactly `text`: in single quotes nothing has a meaning, and
 * a single quote itself stands outside of them. Nothing can stand for a NUL character.
 */
export function shellQuote(text: string): string {
  return `'${text.replaceAll("'", "'\\''")}'`;
}
