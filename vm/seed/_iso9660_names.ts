/**
 * The three names a file has: ISO 9660 level 1 (`USER_DAT.;1`), Joliet (UCS-2, big-endian) and, in
 * the system use field, Rock Ridge.
 *
 * @module
 */

const BASE = 8;
const EXTENSION = 3;

/**
 * ECMA-119 7.5 and 10.1 identifiers for `names`, in the same order: 8 characters, a dot, 3 characters,
 * version 1. Names that would become the same are told apart by a number.
 */
export function levelOneNames(names: readonly string[]): string[] {
  const taken = new Set<string>();
  return names.map((name) => {
    const upper = name.toUpperCase();
    const dot = upper.lastIndexOf(".");
    const base = dCharacters(dot > 0 ? upper.slice(0, dot) : upper).slice(0, BASE);
    const extension = dot > 0 ? dCharacters(upper.slice(dot + 1)).slice(0, EXTENSION) : "";
    let result = `${base}.${extension};1`;
    for (let n = 1; taken.has(result); n++) {
      result = `${base.slice(0, BASE - String(n).length)}${n}.${extension};1`;
    }
    taken.add(result);
    return result;
  });
}

/** ECMA-119 7.4.1: A to Z, 0 to 9 and the underline. */
function dCharacters(text: string): string {
  return text.replace(/[^A-Z0-9_]/g, "_");
}

/** Joliet specification, "Coded graphic character set": UCS-2, high byte first. */
export function ucs2(text: string): Uint8Array {
  const out = new Uint8Array(text.length * 2);
  const view = new DataView(out.buffer);
  for (let i = 0; i < text.length; i++) view.setUint16(i * 2, text.charCodeAt(i));
  return out;
}
