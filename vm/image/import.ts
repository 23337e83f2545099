/**
 * Takes a disk that the user has into the store: a qcow2 or raw file, with its own boot loader or
 * with a kernel beside it.
 *
 * A disk that refers to another file (a backing file, an external data file) is refused: whoever
 * made it would choose which of the lender's files the guest reads.
 *
 * @module
 */

import { join } from "node:path";
import { EXIT, messageOf, OmertaError } from "../../lib/core/errors.ts";
import { runChecked } from "../../lib/core/process.ts";
import { mebibytes, readDiskHeader } from "./_disk_header.ts";
import type { BaseImage } from "./image.ts";
import { checkImageName, IMAGE_FILES, type ImageStore } from "./store.ts";

/** Options of {@link importImage}. */
export interface ImportOptions {
  /** Where the image goes. */
  readonly store: ImageStore;
  /** Its name; one that is taken is refused. */
  readonly name: string;
  /** The disk: qcow2 or raw. It is copied. */
  readonly file: string;
  /** Processor it is for. @default {this host's} */
  readonly arch?: BaseImage["arch"];
  /** A kernel that QEMU loads; without it the disk boots itself. */
  readonly kernel?: {
    /** Path of the kernel. */
    readonly kernel: string;
    /** Path of the initial RAM disk. */
    readonly initrd: string;
    /** Kernel command line, e.g. `root=/dev/vda ro console=ttyS0`. */
    readonly append: string;
  };
  /** Ends the copying. */
  readonly signal?: AbortSignal;
}

/** A large disk on a slow one. */
const CONVERT_TIMEOUT_MS = 60 * 60_000;

/**
 * Copies a disk into the store.
 *
 * @throws {OmertaError} `image-unusable` with what is wrong with the file, `image-name-taken`.
 */
export async function importImage(options: ImportOptions): Promise<BaseImage> {
  const { store, name, file, signal } = options;
  checkImageName(name);
  if ((await store.list()).some((image) => image.name === name)) {
    throw new OmertaError(
      "image-name-taken",
      `Cannot import image "${name}": it is there already`,
      {
        exit: EXIT.usage,
        next: `Choose another name, or 'omerta image remove ${name}'`,
      },
    );
  }
  await using draft = await store.draft();
  const disk = join(draft.folder, IMAGE_FILES.disk);
  const header = await usableDisk(file, () => readDiskHeader(file));
  if (header.format === "raw") {
    // The format is given, not guessed: a raw disk's content must not be taken for a header.
    await runChecked("qemu-img", ["convert", "-f", "raw", "-O", "qcow2", file, disk], {
      timeoutMs: CONVERT_TIMEOUT_MS,
      ...(signal ? { signal } : {}),
    });
  } else {
    await copy(file, disk);
    // What counts is what was copied.
    await usableDisk(file, () => readDiskHeader(disk));
  }
  signal?.throwIfAborted();
  if (options.kernel) {
    await copy(options.kernel.kernel, join(draft.folder, IMAGE_FILES.kernel));
    await copy(options.kernel.initrd, join(draft.folder, IMAGE_FILES.initrd));
  }
  return await draft.commit({
    name,
    arch: options.arch ?? Deno.build.arch,
    virtualSizeMiB: mebibytes(header.virtualSize),
    boot: options.kernel ? { kind: "kernel", append: options.kernel.append } : { kind: "disk" },
    replace: false,
  });
}

async function usableDisk(
  file: string,
  read: () => ReturnType<typeof readDiskHeader>,
): Promise<Exclude<Awaited<ReturnType<typeof readDiskHeader>>, { fault: string }>> {
  const header = await read().catch((error) => ({ fault: `cannot be read: ${messageOf(error)}` }));
  if (!("fault" in header)) return header;
  throw new OmertaError("image-unusable", `Cannot use ${file} as a disk: it ${header.fault}`, {
    exit: EXIT.usage,
  });
}

async function copy(from: string, to: string): Promise<void> {
  try {
    await Deno.copyFile(from, to);
    // A copy of a read-only file would be read-only too, and could not be removed everywhere.
    await Deno.chmod(to, 0o600);
  } catch (error) {
    const full = messageOf(error).includes("os error 28");
    throw new OmertaError(
      full ? "disk-full" : "image-unusable",
      `Cannot copy ${from}: ${full ? "no space left on the disk" : messageOf(error)}`,
      { cause: error, exit: full ? EXIT.failed : EXIT.usage },
    );
  }
}
