/**
 * Base images on this host: one folder each, named by what is in it.
 *
 * ```
 * images/<id>/image.json     what it is (zod-checked)
 *            /disk.qcow2     never written again
 *            /vmlinuz        for images whose kernel QEMU loads
 *            /initrd
 * images/.lock            held by the process that builds
 * images/.new-<pid>-<start time>-<random>/    an image in the making
 * ```
 *
 * An image is made in a folder of its own beside the others and renamed into place when it is whole,
 * so nobody ever sees a part of one. What a killed process left is swept when the store is opened
 * next: the folder's name says which process it belonged to.
 *
 * @module
 */

import { createHash } from "node:crypto";
import { join, resolve } from "node:path";
import { z } from "zod";
import { EXIT, messageOf, OmertaError } from "../../lib/core/errors.ts";
import {
  exists,
  makePrivateFolder,
  readTextIfThere,
  removeIfThere,
  writeFileAtomic,
} from "../../lib/core/files.ts";
import { startTimeOf } from "../../lib/core/process.ts";
import type { BaseImage } from "./image.ts";

/** How often a lock that is taken is tried again. */
const LOCK_POLL_MS = 500;
const METADATA = "image.json";
/** File names inside an image's folder. */
export const IMAGE_FILES = { disk: "disk.qcow2", kernel: "vmlinuz", initrd: "initrd" } as const;
const ID_REGEXP = /^[0-9a-f]{16}$/;
const NAME_REGEXP = /^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$/;
const DRAFT_REGEXP = /^\.new-([0-9]+)-([A-Za-z0-9_]+)-/;

const metadataSchema = z.strictObject({
  version: z.literal(1),
  id: z.string().regex(ID_REGEXP),
  name: z.string().regex(NAME_REGEXP),
  arch: z.enum(["x86_64", "aarch64"]),
  virtualSizeMiB: z.int().positive(),
  boot: z.discriminatedUnion("kind", [
    z.strictObject({ kind: z.literal("kernel"), append: z.string() }),
    z.strictObject({ kind: z.literal("disk") }),
  ]),
  created: z.iso.datetime(),
  recipe: z.string().optional(),
});
type Metadata = z.infer<typeof metadataSchema>;

/** What is known about an image before it is in the store. */
export interface NewImage {
  /** Name: 1 to 63 letters, digits, `.`, `_` or `-`. */
  readonly name: string;
  /** Processor it is for. */
  readonly arch: BaseImage["arch"];
  /** Size of the disk as the guest sees it, in MiB. */
  readonly virtualSizeMiB: number;
  /** How it starts; the kernel and the initial RAM disk are in the draft's folder. */
  readonly boot: { readonly kind: "kernel"; readonly append: string } | { readonly kind: "disk" };
  /** Hash of what it was built from; the same recipe is not built twice. */
  readonly recipe?: string;
  /** Whether an older image gives up its name; otherwise a name that is taken is an error. */
  readonly replace: boolean;
}

/** A folder to make an image in; removed when disposed of, unless it was committed. */
export interface ImageDraft extends AsyncDisposable {
  /** Absolute path; {@link IMAGE_FILES} go here, anything else is removed at the end. */
  readonly folder: string;
  /** Puts the image into the store and returns it. An image of the same content is not stored twice. */
  commit(image: NewImage): Promise<BaseImage>;
}

/** An entry that is not an image: its metadata is missing or damaged. */
export interface DamagedImage {
  /** Absolute path of the folder. */
  readonly folder: string;
  /** What is wrong with it. */
  readonly reason: string;
}

/** Options of {@link ImageStore.open}. */
export interface ImageStoreOptions {
  /** Names of the VMs whose disk lies on top of this image. @default {none} */
  readonly usedBy?: (image: BaseImage) => Promise<readonly string[]>;
}

/** The images of one home. */
export class ImageStore {
  /** Absolute path of the folder. */
  readonly folder: string;
  readonly #usedBy: (image: BaseImage) => Promise<readonly string[]>;

  private constructor(folder: string, options: ImageStoreOptions) {
    this.folder = resolve(folder);
    this.#usedBy = options.usedBy ?? ((): Promise<readonly string[]> => Promise.resolve([]));
  }

  /** Opens the store, makes its folder and sweeps what killed builds left. */
  static async open(folder: string, options: ImageStoreOptions = {}): Promise<ImageStore> {
    const store = new ImageStore(folder, options);
    await makePrivateFolder(store.folder);
    await store.#sweep();
    return store;
  }

  /** Every image, newest first. */
  async list(): Promise<BaseImage[]> {
    const { images } = await this.#read();
    return images.map((metadata) => this.#image(metadata));
  }

  /** Entries that cannot be used, for a user to see and remove. */
  async damaged(): Promise<DamagedImage[]> {
    return (await this.#read()).damaged;
  }

  /**
   * The image of that name, or whose id begins so.
   *
   * @throws {OmertaError} `image-missing`, or `image-ambiguous` when several ids begin so.
   */
  async find(nameOrPrefix: string): Promise<BaseImage> {
    const images = await this.list();
    const named = images.find((image) => image.name === nameOrPrefix);
    if (named) return named;
    const byId = nameOrPrefix === ""
      ? []
      : images.filter((image) => image.id.startsWith(nameOrPrefix));
    const [first, second] = byId;
    if (first && !second) return first;
    if (first) {
      throw new OmertaError(
        "image-ambiguous",
        `Cannot choose image "${nameOrPrefix}": ${byId.length} ids begin so: ${
          byId.map((image) => `${image.id} (${image.name})`).join(", ")
        }`,
        { exit: EXIT.usage, next: "Give more characters of the id, or the name" },
      );
    }
    throw new OmertaError(
      "image-missing",
      `Cannot find image "${nameOrPrefix}": ${
        images.length === 0
          ? "there are no images yet"
          : `there are ${images.map((image) => image.name).join(", ")}`
      }`,
      { exit: EXIT.missing, next: "Run 'omerta image build' or 'omerta image pull'" },
    );
  }

  /**
   * The image for a VM whose borrower named none: the newest one.
   *
   * @throws {OmertaError} `image-missing` when there is none.
   */
  async default(): Promise<BaseImage> {
    const [newest] = await this.list();
    if (newest) return newest;
    throw new OmertaError("image-missing", "Cannot start a VM: there are no images yet", {
      exit: EXIT.missing,
      next: "Run 'omerta image build' or 'omerta image pull'",
    });
  }

  /** The image that was built from this recipe, if it is there. */
  async findRecipe(recipe: string): Promise<BaseImage | undefined> {
    const { images } = await this.#read();
    const metadata = images.find((image) => image.recipe === recipe);
    return metadata && this.#image(metadata);
  }

  /**
   * Removes an image and returns it.
   *
   * @throws {OmertaError} `image-in-use` while the disk of a VM lies on top of it.
   */
  async remove(nameOrPrefix: string): Promise<BaseImage> {
    const image = await this.find(nameOrPrefix);
    const users = await this.#usedBy(image);
    if (users.length > 0) {
      throw new OmertaError(
        "image-in-use",
        `Cannot remove image "${image.name}": the disk of ${users.join(", ")} lies on top of it`,
        { next: "Release those VMs first" },
      );
    }
    await this.#discard(image.id);
    return image;
  }

  /**
   * Waits until no other process makes an image here, calling `onWait` if it has to. The kernel
   * frees the lock of a process that ends.
   */
  async lock(onWait: () => void, signal?: AbortSignal): Promise<Disposable> {
    const file = await Deno.open(join(this.folder, ".lock"), { write: true, create: true });
    try {
      for (let waited = false; !await file.tryLock(true); waited = true) {
        if (!waited) onWait();
        await new Promise((resolve) => setTimeout(resolve, LOCK_POLL_MS));
        signal?.throwIfAborted();
      }
    } catch (error) {
      file.close();
      throw error;
    }
    return { [Symbol.dispose]: () => file.close() };
  }

  /** Makes a folder for a new image. */
  async draft(): Promise<ImageDraft> {
    const owner = `${Deno.pid}-${wordOf(await startTimeOf(Deno.pid) ?? "0")}`;
    const folder = join(this.folder, `.new-${owner}-${crypto.randomUUID().slice(0, 8)}`);
    await makePrivateFolder(folder);
    return {
      folder,
      commit: (image): Promise<BaseImage> => this.#commit(folder, image),
      [Symbol.asyncDispose]: (): Promise<void> => removeIfThere(folder),
    };
  }

  async #commit(folder: string, image: NewImage): Promise<BaseImage> {
    checkImageName(image.name);
    const names = image.boot.kind === "kernel"
      ? [IMAGE_FILES.disk, IMAGE_FILES.kernel, IMAGE_FILES.initrd]
      : [IMAGE_FILES.disk];
    const hash = createHash("sha256").update(JSON.stringify(image.boot));
    for (const name of names) await hashFile(hash, join(folder, name));
    const id = hash.digest("hex").slice(0, 16);
    const there = (await this.list()).find((other) => other.id === id);
    if (there) return there;
    await this.#freeName(image);
    const { replace: _, ...known } = image;
    const metadata: Metadata = { version: 1, id, created: new Date().toISOString(), ...known };
    await writeFileAtomic(join(folder, METADATA), `${JSON.stringify(metadata, null, 2)}\n`);
    const wanted = new Set<string>([...names, METADATA]);
    for await (const entry of Deno.readDir(folder)) {
      if (!wanted.has(entry.name)) await removeIfThere(join(folder, entry.name));
    }
    // A folder without readable metadata may be in the way.
    if (await exists(join(this.folder, id))) await this.#discard(id);
    await Deno.rename(folder, join(this.folder, id));
    return this.#image(metadata);
  }

  /** Takes the name from the image that has it: removed when no VM needs it, else renamed. */
  async #freeName(image: NewImage): Promise<void> {
    const { images } = await this.#read();
    const older = images.find((other) => other.name === image.name);
    if (!older) return;
    if (!image.replace) {
      throw new OmertaError(
        "image-name-taken",
        `Cannot store image "${image.name}": ${older.id} has that name`,
        { exit: EXIT.usage, next: `Choose another name, or 'omerta image remove ${image.name}'` },
      );
    }
    const users = await this.#usedBy(this.#image(older));
    if (users.length === 0) return await this.#discard(older.id);
    const renamed = { ...older, name: `${image.name.slice(0, 40)}-old-${older.id.slice(0, 8)}` };
    await writeFileAtomic(
      join(this.folder, older.id, METADATA),
      `${JSON.stringify(renamed, null, 2)}\n`,
    );
  }

  /** Renames first, so that a removal that is cut short leaves something the next sweep takes. */
  async #discard(id: string): Promise<void> {
    const folder = join(this.folder, `.new-0-removed-${crypto.randomUUID().slice(0, 8)}`);
    await Deno.rename(join(this.folder, id), folder);
    await removeIfThere(folder);
  }

  async #sweep(): Promise<void> {
    for await (const entry of Deno.readDir(this.folder)) {
      const [, pid, started] = DRAFT_REGEXP.exec(entry.name) ?? [];
      if (pid === undefined || started === undefined) continue;
      const now = pid === "0" ? undefined : await startTimeOf(Number(pid));
      if (now !== undefined && wordOf(now) === started) continue;
      // What cannot be removed is in nobody's way: the next start tries again.
      await removeIfThere(join(this.folder, entry.name)).catch(() => {});
    }
  }

  async #read(): Promise<{ images: Metadata[]; damaged: DamagedImage[] }> {
    const images: Metadata[] = [];
    const damaged: DamagedImage[] = [];
    for await (const entry of Deno.readDir(this.folder)) {
      if (!entry.isDirectory || !ID_REGEXP.test(entry.name)) continue;
      const folder = join(this.folder, entry.name);
      const metadata = await readMetadata(folder, entry.name);
      if (typeof metadata === "string") damaged.push({ folder, reason: metadata });
      else images.push(metadata);
    }
    images.sort((a, b) => a.created < b.created ? 1 : -1);
    return { images, damaged };
  }

  #image(metadata: Metadata): BaseImage {
    const folder = join(this.folder, metadata.id);
    return {
      id: metadata.id,
      name: metadata.name,
      arch: metadata.arch,
      disk: join(folder, IMAGE_FILES.disk),
      virtualSizeMiB: metadata.virtualSizeMiB,
      boot: metadata.boot.kind === "disk" ? { kind: "disk" } : {
        kind: "kernel",
        kernel: join(folder, IMAGE_FILES.kernel),
        initrd: join(folder, IMAGE_FILES.initrd),
        append: metadata.boot.append,
      },
      created: metadata.created,
    };
  }
}

/**
 * Refuses what cannot be an image's name.
 *
 * @throws {OmertaError} `image-name`.
 */
export function checkImageName(name: string): void {
  if (NAME_REGEXP.test(name) && !ID_REGEXP.test(name)) return;
  throw new OmertaError(
    "image-name",
    `Cannot name an image ${
      JSON.stringify(name)
    }: need 1 to 63 letters, digits, ".", "_" or "-", and not an id`,
    { exit: EXIT.usage },
  );
}

/** The metadata in `folder`, or what is wrong with it. */
async function readMetadata(folder: string, id: string): Promise<Metadata | string> {
  const text = await readTextIfThere(join(folder, METADATA));
  if (text === undefined) return `${METADATA} is missing`;
  let json: unknown;
  try {
    json = JSON.parse(text);
  } catch (error) {
    return `${METADATA} is not JSON: ${messageOf(error)}`;
  }
  const parsed = metadataSchema.safeParse(json);
  if (!parsed.success) return `${METADATA}: ${z.prettifyError(parsed.error)}`;
  if (parsed.data.id !== id) return `${METADATA} is about ${parsed.data.id}`;
  if (!await exists(join(folder, IMAGE_FILES.disk))) return `${IMAGE_FILES.disk} is missing`;
  return parsed.data;
}

async function hashFile(hash: ReturnType<typeof createHash>, path: string): Promise<void> {
  using file = await Deno.open(path);
  await file.syncData();
  const buffer = new Uint8Array(1 << 20);
  for (;;) {
    const n = await file.read(buffer);
    if (n === null) return;
    hash.update(buffer.subarray(0, n));
  }
}

/** A start time as part of a file name. */
function wordOf(startTime: string): string {
  return startTime.replace(/[^A-Za-z0-9]/g, "_");
}
