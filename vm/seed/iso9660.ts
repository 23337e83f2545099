/**
 * Writes a small ISO 9660 volume: one folder of files, which is all that a cloud-init seed is.
 *
 * Read ECMA-119 (ISO 9660), then the Joliet specification. The names that matter are in two places,
 * because readers differ in which they prefer: Rock Ridge (Linux) and Joliet (everything else).
 *
 * ```
 * sector  0..15  system area, zero
 *            16  primary volume descriptor
 *            17  supplementary volume descriptor: Joliet
 *            18  volume descriptor set terminator
 *        19, 20  path table of the primary tree, little-endian and big-endian
 *        21, 22  path table of the Joliet tree
 *            23  Rock Ridge extension record
 *        24 ...  root folder of the primary tree, of the Joliet tree, then the files
 * ```
 *
 * The same files and time always give the same bytes.
 *
 * @module
 */

import { EXIT, OmertaError } from "../../lib/core/errors.ts";
import {
  directoryRecord,
  packRecords,
  SECTOR,
  sectors,
  writeBoth16,
  writeBoth32,
  writeLongDate,
  writeNoDate,
  writeText,
} from "./_iso9660_fields.ts";
import { levelOneNames, ucs2 } from "./_iso9660_names.ts";
import { extensionArea, fileEntries, rootEntries } from "./_iso9660_rock_ridge.ts";

/** A file in the root folder of the volume. */
export interface IsoFile {
  /** Its name: 1 to 64 characters of `A-Z a-z 0-9 . _ -`. */
  readonly name: string;
  /** Its content. */
  readonly content: Uint8Array;
}

/** What {@link writeIso} writes. */
export interface IsoOptions {
  /** Volume label, up to 16 characters: the Joliet field holds no more. */
  readonly label: string;
  /** The files, in any order. */
  readonly files: readonly IsoFile[];
  /** Time of everything on the volume; years 1900 to 2155. */
  readonly time: Date;
}

/** Longest file name that Joliet allows, in characters. */
export const ISO_NAME_MAX = 64;
const LABEL_MAX = 16;
const NAME_REGEXP = /^[A-Za-z0-9_-][A-Za-z0-9._-]*$/;

/** ECMA-119 8.1.1: kinds of volume descriptor. */
const PRIMARY = 1;
const SUPPLEMENTARY = 2;
const TERMINATOR = 255;

const PRIMARY_PATHS = 19;
const JOLIET_PATHS = 21;
const EXTENSIONS = 23;
const FIRST_FOLDER = 24;
const PATH_TABLE_LEN = 10;
const ROOT_RECORD_LEN = 34;
const SELF = Uint8Array.of(0);
const PARENT = Uint8Array.of(1);

interface Placed extends IsoFile {
  readonly extent: number;
}

/**
 * The bytes of the volume, a whole number of sectors.
 *
 * @throws {OmertaError} `iso-name` when a name or the label does not fit, or a name comes twice.
 */
export function writeIso(options: IsoOptions): Uint8Array {
  checkNames(options);
  const { time } = options;
  const files = [...options.files].sort(byName);
  // The length of a folder does not depend on where its files lie, so a first pass measures it.
  const primaryAt = FIRST_FOLDER;
  const measured = files.map((file) => ({ ...file, extent: 0 }));
  const primarySize = primaryFolder(measured, time, primaryAt, 0).length;
  const jolietAt = primaryAt + sectors(primarySize);
  const jolietSize = jolietFolder(measured, time, jolietAt, 0).length;
  let next = jolietAt + sectors(jolietSize);
  const placed: Placed[] = files.map((file) => {
    const extent = next;
    next += sectors(file.content.length);
    return { ...file, extent };
  });

  const out = new Uint8Array(next * SECTOR);
  const put = (sector: number, bytes: Uint8Array): void => out.set(bytes, sector * SECTOR);
  const volume = { label: options.label, time, sectors: next };
  put(16, descriptor(PRIMARY, volume, PRIMARY_PATHS, primaryAt, primarySize));
  put(17, descriptor(SUPPLEMENTARY, volume, JOLIET_PATHS, jolietAt, jolietSize));
  put(18, descriptorHead(TERMINATOR));
  put(PRIMARY_PATHS, pathTable(primaryAt, true));
  put(PRIMARY_PATHS + 1, pathTable(primaryAt, false));
  put(JOLIET_PATHS, pathTable(jolietAt, true));
  put(JOLIET_PATHS + 1, pathTable(jolietAt, false));
  put(EXTENSIONS, extensionArea());
  put(primaryAt, primaryFolder(placed, time, primaryAt, primarySize));
  put(jolietAt, jolietFolder(placed, time, jolietAt, jolietSize));
  for (const file of placed) put(file.extent, file.content);
  return out;
}

function checkNames(options: IsoOptions): void {
  const refuse = (what: string, got: string, want: string): never => {
    throw new OmertaError("iso-name", `Cannot write the ISO volume: ${what} is "${got}", ${want}`, {
      exit: EXIT.usage,
    });
  };
  if (!/^[A-Za-z0-9_]+$/.test(options.label) || options.label.length > LABEL_MAX) {
    refuse("the label", options.label, `need 1 to ${LABEL_MAX} letters, digits or underlines`);
  }
  const seen = new Set<string>();
  for (const { name } of options.files) {
    if (!NAME_REGEXP.test(name) || name.length > ISO_NAME_MAX) {
      refuse("a file's name", name, `need 1 to ${ISO_NAME_MAX} letters, digits, ".", "_" or "-"`);
    }
    if (seen.has(name)) refuse("a file's name", name, "which is already there");
    seen.add(name);
  }
}

function byName(a: IsoFile, b: IsoFile): number {
  return a.name < b.name ? -1 : 1;
}

function primaryFolder(
  files: readonly Placed[],
  time: Date,
  at: number,
  size: number,
): Uint8Array {
  const own = { extent: at, size, directory: true, time };
  const names = levelOneNames(files.map((file) => file.name));
  const records = files
    .map((file, i) => ({ file, name: names[i] ?? "" }))
    .sort((a, b) => a.name < b.name ? -1 : 1)
    .map(({ file, name }) =>
      directoryRecord({
        identifier: new TextEncoder().encode(name),
        extent: file.extent,
        size: file.content.length,
        directory: false,
        time,
        systemUse: fileEntries(file.name, time),
      })
    );
  return packRecords([
    directoryRecord({ ...own, identifier: SELF, systemUse: rootEntries(time, EXTENSIONS) }),
    directoryRecord({ ...own, identifier: PARENT, systemUse: rootEntries(time) }),
    ...records,
  ]);
}

function jolietFolder(
  files: readonly Placed[],
  time: Date,
  at: number,
  size: number,
): Uint8Array {
  const systemUse = new Uint8Array(0);
  const own = { extent: at, size, directory: true, time, systemUse };
  return packRecords([
    directoryRecord({ ...own, identifier: SELF }),
    directoryRecord({ ...own, identifier: PARENT }),
    ...files.map((file) =>
      directoryRecord({
        identifier: ucs2(file.name),
        extent: file.extent,
        size: file.content.length,
        directory: false,
        time,
        systemUse,
      })
    ),
  ]);
}

/** ECMA-119 9.4: the only directory is the root, its own parent. */
function pathTable(root: number, littleEndian: boolean): Uint8Array {
  const out = new Uint8Array(PATH_TABLE_LEN);
  const view = new DataView(out.buffer);
  out[0] = SELF.length;
  view.setUint32(2, root, littleEndian);
  view.setUint16(6, 1, littleEndian);
  return out;
}

function descriptorHead(kind: number): Uint8Array {
  const out = new Uint8Array(SECTOR);
  out[0] = kind;
  writeText(out, 1, 5, "CD001");
  out[6] = 1;
  return out;
}

/** ECMA-119 8.4 and 8.5: both descriptors have the same fields; Joliet's texts are UCS-2. */
function descriptor(
  kind: typeof PRIMARY | typeof SUPPLEMENTARY,
  volume: { readonly label: string; readonly time: Date; readonly sectors: number },
  paths: number,
  root: number,
  rootSize: number,
): Uint8Array {
  const joliet = kind === SUPPLEMENTARY;
  const out = descriptorHead(kind);
  const view = new DataView(out.buffer);
  const text = (at: number, length: number, value: string): void => {
    if (!joliet) return writeText(out, at, length, value);
    out.set(ucs2(value.padEnd(length >>> 1)).subarray(0, length), at);
  };
  text(8, 32, "");
  text(40, 32, volume.label);
  writeBoth32(view, 80, volume.sectors);
  // Joliet, "Escape sequences": UCS-2 level 3.
  if (joliet) out.set([0x25, 0x2f, 0x45], 88);
  writeBoth16(view, 120, 1);
  writeBoth16(view, 124, 1);
  writeBoth16(view, 128, SECTOR);
  writeBoth32(view, 132, PATH_TABLE_LEN);
  view.setUint32(140, paths, true);
  view.setUint32(148, paths + 1);
  const record = directoryRecord({
    identifier: SELF,
    extent: root,
    size: rootSize,
    directory: true,
    time: volume.time,
    systemUse: new Uint8Array(0),
  });
  out.set(record.subarray(0, ROOT_RECORD_LEN), 156);
  // Volume set, publisher, preparer, application; copyright, abstract and bibliographic files.
  for (const at of [190, 318, 446, 574]) text(at, 128, "");
  for (const at of [702, 739, 776]) text(at, 37, "");
  writeLongDate(out, 813, volume.time);
  writeLongDate(out, 830, volume.time);
  writeNoDate(out, 847);
  writeNoDate(out, 864);
  out[881] = 1;
  return out;
}
