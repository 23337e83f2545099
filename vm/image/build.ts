/**
 * Builds the guest image out of Debian's packages, for hosts that reach a package mirror and nothing
 * else, and because a guest made for the purpose boots in a third of the time of a general one.
 *
 * 1. `mmdebstrap` unpacks and configures the packages into a tar file, as root or as an ordinary
 *    user, in the mode that this host allows (`build_mode.ts`).
 * 2. `cloud-init/image_pack.sh` makes an ext4 file system out of it (`mke2fs -d`: nothing is
 *    mounted) and a qcow2 disk out of that, in the same mode: what is root's stays root's.
 * 3. Kernel and initial RAM disk are taken out of the tar file: QEMU loads them itself, so there is
 *    no boot loader to wait for.
 *
 * The recipe (packages, options, scripts) hashes to a key that is kept with the image; the same
 * recipe is not built twice. Security updates come by building again with `force`.
 *
 * @module
 */

import { createHash } from "node:crypto";
import { join } from "node:path";
import CUSTOMIZE from "../../cloud-init/image_customize.sh" with { type: "text" };
import EARLY from "../../cloud-init/image_early.sh" with { type: "text" };
import PACK from "../../cloud-init/image_pack.sh" with { type: "text" };
import { EXIT, OmertaError } from "../../lib/core/errors.ts";
import { run, runChecked } from "../../lib/core/process.ts";
import { type AptSources, aptSources } from "./_apt_sources.ts";
import { type BuildMode, chooseBuildMode } from "./build_mode.ts";
import { endProcessesOf } from "./_leftovers.ts";
import { runMmdebstrap } from "./_mmdebstrap.ts";
import type { BaseImage } from "./image.ts";
import { checkImageName, IMAGE_FILES, type ImageDraft, type ImageStore } from "./store.ts";

/** How far the making of an image is. */
export interface ImageProgress {
  /** What is being done, in words. */
  readonly step: string;
  /** Bytes done, when they are counted. */
  readonly done?: number;
  /** Bytes in all, when that is known. */
  readonly total?: number;
}

/** Options of {@link buildImage}. */
export interface BuildOptions {
  /** Where the image goes. */
  readonly store: ImageStore;
  /** Its name. @default {"debian-12"} */
  readonly name?: string;
  /** Builds even if the same recipe is there already. @default {false} */
  readonly force?: boolean;
  /** Called for every step. */
  readonly onProgress?: (progress: ImageProgress) => void;
  /** Ends the build. */
  readonly signal?: AbortSignal;
}

/** Name of an image whose user gave none. */
export const DEFAULT_IMAGE_NAME = "debian-12";

/** Debian 12. */
const SUITE = "bookworm";
/** File system label; the kernel does not need it, fstab does. */
const LABEL = "omerta-root";
/** Size of the file system in the image; it grows with the disk of the VM. */
const SIZE_MIB = 2048;
/** About a minute on two cores; a slow mirror takes longer. */
const BUILD_TIMEOUT_MS = 20 * 60_000;

/** Packages besides apt and what Debian marks as essential. */
export const GUEST_PACKAGES: readonly string[] = [
  "ca-certificates",
  "cloud-init",
  "dbus",
  "e2fsprogs",
  "initramfs-tools",
  "iproute2",
  "iputils-ping",
  "kmod",
  "nftables",
  "openssh-server",
  "sudo",
  "systemd-sysv",
  "udev",
  "wireguard-tools",
  "zstd",
];

/** Documentation is for the host to read, not for the guest; licences stay. */
const DPKG_OPTIONS: readonly string[] = [
  "path-exclude=/usr/share/doc/*",
  "path-include=/usr/share/doc/*/copyright",
  "path-exclude=/usr/share/man/*",
  "path-exclude=/usr/share/info/*",
  "path-exclude=/usr/share/locale/*",
  "path-exclude=/usr/share/i18n/*",
];

interface Recipe {
  readonly suite: string;
  readonly arch: BaseImage["arch"];
  readonly packages: readonly string[];
  readonly dpkgOptions: readonly string[];
  readonly early: string;
  readonly customize: string;
  readonly pack: string;
  readonly sizeMiB: number;
  readonly append: string;
}

/** What is built on a host with this processor. */
function recipeFor(arch: BaseImage["arch"]): Recipe {
  const debianArch = arch === "x86_64" ? "amd64" : "arm64";
  const console = arch === "x86_64" ? "ttyS0" : "ttyAMA0";
  return {
    suite: SUITE,
    arch,
    packages: [`linux-image-cloud-${debianArch}`, ...GUEST_PACKAGES],
    dpkgOptions: DPKG_OPTIONS,
    early: EARLY,
    customize: CUSTOMIZE.replaceAll("@SUITE@", SUITE).replaceAll("@LABEL@", LABEL),
    pack: PACK,
    sizeMiB: SIZE_MIB,
    append: `root=/dev/vda ro console=${console}`,
  };
}

/**
 * Builds the guest image, or returns the one that is there already.
 *
 * @throws {OmertaError} `image-build-unsupported` on hosts without Debian's tools,
 * `image-build-forbidden` where no mode of building works, `program-missing`, `program-failed` with
 * the last words of the tool that failed.
 */
export async function buildImage(options: BuildOptions): Promise<BaseImage> {
  const { store, signal } = options;
  const name = options.name ?? DEFAULT_IMAGE_NAME;
  checkImageName(name);
  const recipe = recipeFor(hostArch());
  const key = createHash("sha256").update(JSON.stringify(recipe)).digest("hex");
  const report = (step: string): void => options.onProgress?.({ step });
  // Two builds at once would do the same work twice, and the second would replace the first.
  using _lock = await store.lock(() => report("waiting for another build"), signal);
  if (!options.force) {
    const there = await store.findRecipe(key);
    if (there) return there;
  }
  // Says so if it is not installed.
  await run("mmdebstrap", ["--version"]);
  const mode = await chooseBuildMode(Deno.uid() === 0);
  report(`looking for the package mirror, to build in mode ${mode.name}`);
  const sources = await aptSources(SUITE);

  await using draft = await store.draft();
  await using _processes = { [Symbol.asyncDispose]: () => endProcessesOf(draft.folder) };
  await unpackPackages(draft, recipe, sources, mode, report, signal);
  report("making the disk");
  await makeDisk(draft, recipe, mode, signal);
  await takeKernel(draft, signal);
  report("storing the image");
  return await draft.commit({
    name,
    arch: recipe.arch,
    virtualSizeMiB: recipe.sizeMiB,
    boot: { kind: "kernel", append: recipe.append },
    recipe: key,
    replace: true,
  });
}

async function unpackPackages(
  draft: ImageDraft,
  recipe: Recipe,
  sources: AptSources,
  mode: BuildMode,
  report: (step: string) => void,
  signal?: AbortSignal,
): Promise<void> {
  const command = [
    ...mode.builder,
    "mmdebstrap",
    `--mode=${mode.name}`,
    "--variant=apt",
    `--include=${recipe.packages.join(",")}`,
    ...recipe.dpkgOptions.map((option) => `--dpkgopt=${option}`),
    ...sources.options.map((option) => `--aptopt=${option}`),
    // A script as the option itself: inside a user namespace the home folder cannot be read.
    `--essential-hook=${recipe.early}`,
    `--customize-hook=${recipe.customize}`,
    recipe.suite,
    join(draft.folder, "root.tar"),
    // Mirrors are handed over on standard input: an address may hold a password.
    ...(sources.lines.length > 0 ? ["-"] : []),
  ];
  const [program = "", ...args] = command;
  report("starting mmdebstrap");
  await runMmdebstrap(program, args, {
    input: sources.lines.join("\n"),
    env: { ...sources.env, ...environmentOf(draft, mode) },
    timeoutMs: BUILD_TIMEOUT_MS,
    ...(signal ? { signal } : {}),
    onLine: (line): void => {
      const [, step] =
        /^I: ((?:running apt-get|downloading|extracting|installing|cleaning|creating).*)/
          .exec(line) ?? [];
      if (step !== undefined) report(step.replace(/\.+$/, ""));
    },
  });
}

async function makeDisk(
  draft: ImageDraft,
  recipe: Recipe,
  mode: BuildMode,
  signal?: AbortSignal,
): Promise<void> {
  // The shell only opens the two files, as this user; inside the namespace they could not be opened.
  const shell = ["-c", `exec "$@" < root.tar > ${IMAGE_FILES.disk}`, "sh"];
  const pack = ["sh", "-c", recipe.pack, "sh", LABEL, `${recipe.sizeMiB}M`];
  const result = await run("sh", [...shell, ...mode.unpacker, ...pack], {
    cwd: draft.folder,
    timeoutMs: BUILD_TIMEOUT_MS,
    env: environmentOf(draft, mode),
    ...(signal ? { signal } : {}),
  });
  if (result.code === 0) return;
  throw new OmertaError(
    "program-failed",
    `Cannot make the disk of an image: ${result.stderr.trim().split("\n").slice(-3).join("; ")}`,
  );
}

/** Takes the kernel and the initial RAM disk out of the tar file; there is one of each. */
async function takeKernel(draft: ImageDraft, signal?: AbortSignal): Promise<void> {
  const tar = join(draft.folder, "root.tar");
  const names = { "vmlinuz-": IMAGE_FILES.kernel, "initrd.img-": IMAGE_FILES.initrd };
  await runChecked("tar", [
    "--wildcards",
    "--strip-components=2",
    "-C",
    draft.folder,
    "-xf",
    tar,
    ...Object.keys(names).map((prefix) => `./boot/${prefix}*`),
  ], signal ? { signal } : {});
  for await (const entry of Deno.readDir(draft.folder)) {
    for (const [prefix, name] of Object.entries(names)) {
      if (!entry.name.startsWith(prefix)) continue;
      await Deno.rename(join(draft.folder, entry.name), join(draft.folder, name));
    }
  }
}

/** What the programs of a build need. */
function environmentOf(draft: ImageDraft, { seesHome }: BuildMode): Record<string, string> {
  return {
    // mke2fs and chroot are not on the PATH of an ordinary user.
    PATH: `${Deno.env.get("PATH") ?? "/usr/bin:/bin"}:/usr/sbin:/sbin`,
    // Beside the image, where the store sweeps what a killed build has left.
    TMPDIR: seesHome ? draft.folder : "/var/tmp",
  };
}

function hostArch(): BaseImage["arch"] {
  if (Deno.build.os === "linux") return Deno.build.arch;
  throw new OmertaError(
    "image-build-unsupported",
    `Cannot build an image on ${Deno.build.os}: mmdebstrap runs on Linux only`,
    { exit: EXIT.missing, next: "Run 'omerta image pull'" },
  );
}
