/**
 * Rock Ridge: POSIX names and modes in the system use field of a directory record. Read SUSP
 * (IEEE P1281) for SP, CE and ER, and RRIP (IEEE P1282, version 1.09) for RR, PX, NM and TF.
 *
 * Every entry begins with two letters, its length in bytes and its version, 1.
 *
 * @module
 */

import { shortDate, writeBoth32 } from "./_iso9660_fields.ts";

const S_IFDIR = 0o040000;
const S_IFREG = 0o100000;

/** RRIP 4.1 flags of RR: which entries a record has. */
const HAS_PX = 0x01;
const HAS_NM = 0x08;
const HAS_TF = 0x80;
/** RRIP 4.1.6 flags of TF: modification, access and attribute change times, 7 bytes each. */
const TF_MODIFY_ACCESS_ATTRIBUTES = 0x0e;

/** Bytes of the CE entry. */
const CE_LEN = 28;

/** The entries of a file. */
export function fileEntries(name: string, time: Date): Uint8Array {
  return concat([
    entry("RR", [HAS_PX | HAS_NM | HAS_TF]),
    // RRIP 4.1.4: flags, then the name.
    entry("NM", [0, ...new TextEncoder().encode(name)]),
    posix(S_IFREG | 0o400, 1),
    times(time),
  ]);
}

/**
 * The entries of the root directory: of its record for itself when `area` is given, else of the one
 * for its parent. `area` is the sector that holds {@link extensionArea}.
 */
export function rootEntries(time: Date, area?: number): Uint8Array {
  const own = concat([entry("RR", [HAS_PX | HAS_TF]), posix(S_IFDIR | 0o500, 2), times(time)]);
  if (area === undefined) return own;
  // SUSP 5.3: SP comes first in the first record of the root; check bytes, nothing to skip.
  const start = entry("SP", [0xbe, 0xef, 0]);
  const more = new Uint8Array(CE_LEN - 4);
  const view = new DataView(more.buffer);
  writeBoth32(view, 0, area);
  writeBoth32(view, 8, 0);
  writeBoth32(view, 16, extensionArea().length);
  return concat([start, own, entry("CE", [...more])]);
}

/** SUSP 5.5: names the extension in use; too long for a directory record, so it has its own sector. */
export function extensionArea(): Uint8Array {
  const ascii = new TextEncoder();
  const id = ascii.encode("RRIP_1991A");
  const about = ascii.encode("THE ROCK RIDGE INTERCHANGE PROTOCOL PROVIDES SUPPORT FOR POSIX");
  const source = ascii.encode("SEE PUBLISHER IDENTIFIER IN PRIMARY VOLUME DESCRIPTOR");
  return entry("ER", [id.length, about.length, source.length, 1, ...id, ...about, ...source]);
}

/** RRIP 4.1.1: mode, links, user, group, each in both byte orders. Everything belongs to root. */
function posix(mode: number, links: number): Uint8Array {
  const body = new Uint8Array(32);
  const view = new DataView(body.buffer);
  writeBoth32(view, 0, mode);
  writeBoth32(view, 8, links);
  return entry("PX", [...body]);
}

function times(time: Date): Uint8Array {
  const date = shortDate(time);
  return entry("TF", [TF_MODIFY_ACCESS_ATTRIBUTES, ...date, ...date, ...date]);
}

function entry(signature: string, body: readonly number[]): Uint8Array {
  const head = [signature.charCodeAt(0), signature.charCodeAt(1), body.length + 4, 1];
  return Uint8Array.from([...head, ...body]);
}

function concat(parts: readonly Uint8Array[]): Uint8Array {
  return Uint8Array.from(parts.flatMap((part) => [...part]));
}
