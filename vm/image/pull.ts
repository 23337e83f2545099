/**
 * Fetches Debian's own cloud image: the way for hosts without mmdebstrap, macOS among them.
 *
 * The checksum comes from `SHA512SUMS` beside the image, so the transport is what is trusted: the
 * default is HTTPS. What was downloaded stays as `.partial-<checksum>` until it is whole, so that
 * the next pull continues it; content that does not match its checksum is removed at once.
 *
 * It is a general image: it boots through its own boot loader, takes longer than a built one and
 * has no wireguard-tools. `cloud-init/setup.sh` copes with that in the guest.
 *
 * @module
 */

import { createHash } from "node:crypto";
import { basename, join } from "node:path";
import { EXIT, messageOf, OmertaError } from "../../lib/core/errors.ts";
import { removeIfThere } from "../../lib/core/files.ts";
import { mebibytes, readDiskHeader } from "./_disk_header.ts";
import { download } from "./_download.ts";
import type { BaseImage } from "./image.ts";
import type { ImageProgress } from "./build.ts";
import { checkImageName, IMAGE_FILES, type ImageStore } from "./store.ts";

/** Options of {@link pullImage}. */
export interface PullOptions {
  /** Where the image goes. */
  readonly store: ImageStore;
  /** Its name. @default {"debian-12-cloud"} */
  readonly name?: string;
  /** Address of a qcow2 file with `SHA512SUMS` beside it. @default {Debian 12 genericcloud} */
  readonly url?: string;
  /** Processor it is for. @default {this host's} */
  readonly arch?: BaseImage["arch"];
  /** Called with the bytes done and in all. */
  readonly onProgress?: (progress: ImageProgress) => void;
  /** Pause before a cut connection is tried again, in milliseconds. @default {2000} */
  readonly retryDelayMs?: number;
  /** Ends the download; the next pull continues it. */
  readonly signal?: AbortSignal;
}

const DEBIAN = "https://cloud.debian.org/images/cloud/bookworm/latest";
const SUMS = "SHA512SUMS";
const SUMS_BYTES_MAX = 1 << 20;
const SUMS_TIMEOUT_MS = 30_000;

/** Address of Debian 12's genericcloud image. */
export function debianCloudUrl(arch: BaseImage["arch"]): string {
  return `${DEBIAN}/debian-12-genericcloud-${arch === "x86_64" ? "amd64" : "arm64"}.qcow2`;
}

/**
 * Downloads an image, checks it and stores it; returns the one that is there when it is the same.
 *
 * @throws {OmertaError} `checksum-missing`, `checksum-mismatch`, `image-unusable`, `disk-full`,
 * `download-failed`, `download-refused`.
 */
export async function pullImage(options: PullOptions): Promise<BaseImage> {
  const { store, signal } = options;
  const name = options.name ?? "debian-12-cloud";
  checkImageName(name);
  const arch = options.arch ?? Deno.build.arch;
  const url = options.url ?? debianCloudUrl(arch);
  options.onProgress?.({ step: "reading the checksum" });
  const want = await checksumOf(url, signal);
  const recipe = `sha512:${want}`;
  const there = await store.findRecipe(recipe);
  if (there) return there;

  const partial = join(store.folder, `.partial-${want.slice(0, 32)}`);
  try {
    await download({
      url,
      path: partial,
      retryDelayMs: options.retryDelayMs ?? 2000,
      onProgress: (done, total): void =>
        options.onProgress?.({
          step: "downloading",
          done,
          ...(total === undefined ? {} : { total }),
        }),
      ...(signal ? { signal } : {}),
    });
  } catch (error) {
    // A disk that is full is not left full.
    if (error instanceof OmertaError && error.code === "disk-full") await removeIfThere(partial);
    throw error;
  }
  options.onProgress?.({ step: "checking" });
  const got = await sha512(partial, signal);
  if (got !== want) {
    await removeIfThere(partial);
    throw new OmertaError(
      "checksum-mismatch",
      `Cannot use ${url}: SHA-512 is ${short(got)}, need ${short(want)}; the file was removed`,
      { next: "Pull again; if that does not help, the server has a damaged file" },
    );
  }
  const header = await readDiskHeader(partial);
  if ("fault" in header || header.format !== "qcow2") {
    await removeIfThere(partial);
    const fault = "fault" in header ? header.fault : "is a raw disk, need qcow2";
    throw new OmertaError("image-unusable", `Cannot use ${url} as a disk: it ${fault}`);
  }
  await using draft = await store.draft();
  await Deno.rename(partial, join(draft.folder, IMAGE_FILES.disk));
  return await draft.commit({
    name,
    arch,
    virtualSizeMiB: mebibytes(header.virtualSize),
    boot: { kind: "disk" },
    recipe,
    replace: true,
  });
}

async function checksumOf(url: string, signal?: AbortSignal): Promise<string> {
  const sums = new URL(SUMS, url).href;
  const file = decodeURIComponent(basename(new URL(url).pathname));
  const text = await fetchText(sums, signal);
  for (const line of text.split("\n")) {
    // sha512sum(1): digest, a space, a space or an asterisk, name.
    const [, digest, name] = /^([0-9a-f]{128}) [ *](.+)$/.exec(line.trimEnd()) ?? [];
    if (digest !== undefined && name === file) return digest;
  }
  throw new OmertaError("checksum-missing", `Cannot check ${url}: ${sums} has no line for ${file}`);
}

async function fetchText(url: string, signal?: AbortSignal): Promise<string> {
  const timeout = AbortSignal.timeout(SUMS_TIMEOUT_MS);
  const fail = (why: string, cause?: unknown): OmertaError =>
    new OmertaError("download-failed", `Cannot download ${url}: ${why}`, {
      exit: EXIT.unreachable,
      next: "Check the network, or run 'omerta image build', which needs a Debian mirror only",
      cause,
    });
  try {
    const response = await fetch(url, {
      signal: signal ? AbortSignal.any([signal, timeout]) : timeout,
    });
    if (!response.ok) {
      await response.body?.cancel();
      throw fail(`the server answered ${response.status} ${response.statusText}`.trim());
    }
    let text = "";
    for await (
      const piece of (response.body ?? new ReadableStream()).pipeThrough(
        new TextDecoderStream(),
      )
    ) {
      text += piece;
      if (text.length > SUMS_BYTES_MAX) throw fail("it is longer than a list of checksums");
    }
    return text;
  } catch (error) {
    signal?.throwIfAborted();
    throw error instanceof OmertaError ? error : fail(messageOf(error), error);
  }
}

async function sha512(path: string, signal?: AbortSignal): Promise<string> {
  using file = await Deno.open(path);
  const hash = createHash("sha512");
  const buffer = new Uint8Array(1 << 20);
  for (;;) {
    signal?.throwIfAborted();
    const n = await file.read(buffer);
    if (n === null) return hash.digest("hex");
    hash.update(buffer.subarray(0, n));
  }
}

function short(digest: string): string {
  return `${digest.slice(0, 16)}...`;
}
