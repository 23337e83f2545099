/**
 * The number, text and date fields of ECMA-119 (ISO 9660).
 *
 * Sizes are in bytes. "Both-byte order" fields hold a number twice, little-endian then big-endian.
 *
 * @module
 */

/** Bytes of a sector; every extent begins on one. */
export const SECTOR = 2048;

/** ECMA-119 7.2.3: 16 bits in both byte orders, 4 bytes. */
export function writeBoth16(out: DataView, at: number, value: number): void {
  out.setUint16(at, value, true);
  out.setUint16(at + 2, value);
}

/** ECMA-119 7.3.3: 32 bits in both byte orders, 8 bytes. */
export function writeBoth32(out: DataView, at: number, value: number): void {
  out.setUint32(at, value, true);
  out.setUint32(at + 4, value);
}

/** Writes ASCII text and fills up to `length` bytes with spaces (7.4.3). */
export function writeText(out: Uint8Array, at: number, length: number, text: string): void {
  out.fill(0x20, at, at + length);
  for (let i = 0; i < text.length && i < length; i++) out[at + i] = text.charCodeAt(i);
}

/** ECMA-119 8.4.26.1: `YYYYMMDDHHMMSSss` in digits and the offset from UTC, 17 bytes. */
export function writeLongDate(out: Uint8Array, at: number, time: Date): void {
  const digits = time.toISOString().replace(/\D/g, "").slice(0, 16);
  writeText(out, at, 16, digits);
  out[at + 16] = 0;
}

/** A date that is not given: zero digits, 17 bytes. */
export function writeNoDate(out: Uint8Array, at: number): void {
  out.fill(0x30, at, at + 16);
  out[at + 16] = 0;
}

/** ECMA-119 9.1.5: years since 1900, month, day, hour, minute, second, offset from UTC: 7 bytes. */
export function shortDate(time: Date): Uint8Array {
  return Uint8Array.of(
    time.getUTCFullYear() - 1900,
    time.getUTCMonth() + 1,
    time.getUTCDate(),
    time.getUTCHours(),
    time.getUTCMinutes(),
    time.getUTCSeconds(),
    0,
  );
}

/** What a directory record holds (ECMA-119 9.1). */
export interface DirectoryRecord {
  /** File identifier, as it is written. */
  readonly identifier: Uint8Array;
  /** First sector of the content. */
  readonly extent: number;
  /** Length of the content in bytes. */
  readonly size: number;
  /** Whether it is a directory. */
  readonly directory: boolean;
  /** Recording time. */
  readonly time: Date;
  /** System use field: Rock Ridge lives here. */
  readonly systemUse: Uint8Array;
}

const RECORD_HEAD = 33;
const FLAG_DIRECTORY = 2;

/** One directory record, of even length. */
export function directoryRecord(record: DirectoryRecord): Uint8Array {
  // 9.1.12: a padding byte follows an identifier of even length.
  const name = RECORD_HEAD + record.identifier.length + (1 - record.identifier.length % 2);
  const length = name + record.systemUse.length + record.systemUse.length % 2;
  const out = new Uint8Array(length);
  const view = new DataView(out.buffer);
  out[0] = length;
  writeBoth32(view, 2, record.extent);
  writeBoth32(view, 10, record.size);
  out.set(shortDate(record.time), 18);
  out[25] = record.directory ? FLAG_DIRECTORY : 0;
  writeBoth16(view, 28, 1);
  out[32] = record.identifier.length;
  out.set(record.identifier, RECORD_HEAD);
  out.set(record.systemUse, name);
  return out;
}

/** Packs records into whole sectors; a record never crosses from one to the next (6.8.1.1). */
export function packRecords(records: readonly Uint8Array[]): Uint8Array {
  const starts: number[] = [];
  let end = 0;
  for (const record of records) {
    if (end % SECTOR + record.length > SECTOR) end = sectors(end) * SECTOR;
    starts.push(end);
    end += record.length;
  }
  const out = new Uint8Array(sectors(end) * SECTOR);
  records.forEach((record, i) => out.set(record, starts[i] ?? 0));
  return out;
}

/** How many sectors `bytes` take. */
export function sectors(bytes: number): number {
  return Math.ceil(bytes / SECTOR);
}
