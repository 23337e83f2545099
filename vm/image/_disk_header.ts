/**
 * Tells what kind of disk a file is, and refuses a disk that would read other files of this host.
 *
 * Read docs/interop/qcow2.txt of QEMU. Numbers are big-endian.
 *
 * ```
 * 0 "QFI\xfb"   4 version   8 backing file offset (8)   24 virtual size (8)   32 encryption (4)
 * 72 incompatible features (8; version 3 only): bit 2 = the data is in another file
 * ```
 *
 * This is read here and not asked of qemu-img, which has itself been led to open other files by a
 * header made for the purpose.
 *
 * @module
 */

/** What a file is: a disk, or the reason why it is none that can be used. */
export type DiskHeader =
  | {
    /** Format of the file. */
    readonly format: "qcow2" | "raw";
    /** Size of the disk as a guest sees it, in bytes. */
    readonly virtualSize: number;
  }
  | {
    /** Why it cannot be used, after "it". */
    readonly fault: string;
  };

const VERSION = 4;
const BACKING_FILE = 8;
const VIRTUAL_SIZE = 24;
const ENCRYPTION = 32;
const INCOMPATIBLE = 72;
/** Bytes that {@link parseDiskHeader} looks at. */
export const DISK_HEADER_LEN = 104;
const EXTERNAL_DATA_FILE = 4n;
/** 64 TiB; more is no disk but a trap. */
const VIRTUAL_SIZE_MAX = 64n << 40n;
const SECTOR = 512;

const QCOW2_MAGIC = "514649fb";
/** Beginnings of files that are taken for disks by mistake. */
const OTHER_FORMATS: Readonly<Record<string, string>> = {
  "1f8b": "is compressed with gzip, decompress it first",
  "fd377a585a": "is compressed with xz, decompress it first",
  "28b52ffd": "is compressed with zstd, decompress it first",
  "425a68": "is compressed with bzip2, decompress it first",
  "504b0304": "is a ZIP archive, unpack it first",
  "4b444d56": "is a VMDK disk, convert it first: qemu-img convert -O qcow2",
  "7668647866696c65": "is a VHDX disk, convert it first: qemu-img convert -O qcow2",
  "636f6e6563746978": "is a VHD disk, convert it first: qemu-img convert -O qcow2",
  "3c3c3c20": "is a VDI disk, convert it first: qemu-img convert -O qcow2",
};

/**
 * Judges the beginning of a file. Never throws: the file may come from anywhere.
 *
 * @param head The first bytes of the file, {@link DISK_HEADER_LEN} if it has so many.
 * @param size Length of the whole file in bytes.
 */
export function parseDiskHeader(head: Uint8Array, size: number): DiskHeader {
  const hex = head.subarray(0, 8).toHex();
  if (hex.startsWith(QCOW2_MAGIC)) return parseQcow2(head);
  for (const [magic, fault] of Object.entries(OTHER_FORMATS)) {
    if (hex.startsWith(magic)) return { fault };
  }
  if (size === 0) return { fault: "is empty" };
  if (size % SECTOR !== 0) return { fault: `is ${size} bytes long, no whole number of sectors` };
  return { format: "raw", virtualSize: size };
}

function parseQcow2(head: Uint8Array): DiskHeader {
  if (head.length < DISK_HEADER_LEN) return { fault: "is a qcow2 disk that is cut short" };
  const view = new DataView(head.buffer, head.byteOffset, head.length);
  const version = view.getUint32(VERSION);
  if (version !== 2 && version !== 3) return { fault: `is a qcow2 disk of version ${version}` };
  if (view.getBigUint64(BACKING_FILE) !== 0n) {
    return { fault: "lies on top of another file, flatten it first: qemu-img convert -O qcow2" };
  }
  const features = version === 3 ? view.getBigUint64(INCOMPATIBLE) : 0n;
  if ((features & EXTERNAL_DATA_FILE) !== 0n) {
    return { fault: "keeps its data in another file, join them first: qemu-img convert -O qcow2" };
  }
  if (view.getUint32(ENCRYPTION) !== 0) return { fault: "is encrypted" };
  const virtualSize = view.getBigUint64(VIRTUAL_SIZE);
  if (virtualSize === 0n || virtualSize > VIRTUAL_SIZE_MAX) {
    return { fault: `says that it is ${virtualSize} bytes large` };
  }
  return { format: "qcow2", virtualSize: Number(virtualSize) };
}

/** Reads and judges the beginning of the file at `path`. */
export async function readDiskHeader(path: string): Promise<DiskHeader> {
  using file = await Deno.open(path);
  const head = new Uint8Array(DISK_HEADER_LEN);
  let length = 0;
  while (length < DISK_HEADER_LEN) {
    const n = await file.read(head.subarray(length));
    if (n === null) break;
    length += n;
  }
  const { size } = await file.stat();
  return parseDiskHeader(head.subarray(0, length), size);
}

/** Bytes as whole MiB, rounded up. */
export function mebibytes(bytes: number): number {
  return Math.ceil(bytes / 2 ** 20);
}
