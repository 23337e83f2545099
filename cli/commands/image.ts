/**
 * `omerta image`: the base images that VMs on this host start from.
 *
 * @module
 */

import { Command, type CommandUnknownOpts } from "@commander-js/extra-typings";
import type { BaseImage } from "../../vm/image/image.ts";
import { buildImage, DEFAULT_IMAGE_NAME, type ImageProgress } from "../../vm/image/build.ts";
import { importImage } from "../../vm/image/import.ts";
import { pullImage } from "../../vm/image/pull.ts";
import { ImageStore } from "../../vm/image/store.ts";
import { vmsUsing } from "../../vm/image/use.ts";
import { EXIT, OmertaError } from "../../lib/core/errors.ts";
import { type Context, interruptible } from "../context.ts";
import { formatAge, formatBytes, paint, print, printJson, StatusLine, warn } from "../output.ts";
import { printTable } from "../table.ts";

/** The command. */
export function imageCommand(context: Context): CommandUnknownOpts {
  return new Command("image")
    .description("Build, fetch and list the images that VMs start from")
    .addCommand(buildCommand(context))
    .addCommand(pullCommand(context))
    .addCommand(importCommand(context))
    .addCommand(listCommand(context))
    .addCommand(removeCommand(context));
}

function buildCommand(context: Context): CommandUnknownOpts {
  return new Command("build")
    .description("Build a Debian 12 guest from Debian's packages, root or not, about a minute")
    .option("--name <name>", "name of the image", DEFAULT_IMAGE_NAME)
    .option("--force", "build it even if it is there")
    .action(async ({ name, force }) => {
      const store = await openStore(context);
      await made((onProgress, signal) =>
        buildImage({ store, name, force: force === true, onProgress, signal })
      );
    });
}

function pullCommand(context: Context): CommandUnknownOpts {
  return new Command("pull")
    .description("Fetch Debian's own cloud image; its checksum is checked, a partial one goes on")
    .option("--name <name>", "name of the image")
    .option("--url <url>", "another place than Debian's, with SHA512SUMS beside the image")
    .action(async ({ name, url }) => {
      const store = await openStore(context);
      await made((onProgress, signal) =>
        pullImage({
          store,
          onProgress,
          signal,
          ...(name === undefined ? {} : { name }),
          ...(url === undefined ? {} : { url }),
        })
      );
    });
}

function importCommand(context: Context): CommandUnknownOpts {
  return new Command("import")
    .description("Take in a disk image of your own: qcow2 or raw, with cloud-init inside")
    .argument("<file>", "the image; it is copied")
    .requiredOption("--name <name>", "name of the image")
    .option("--kernel <file>", "start this kernel instead of the image's boot loader")
    .option("--initrd <file>", "initial RAM disk of the kernel")
    .option("--append <words>", "command line of the kernel", "root=/dev/vda1 ro console=ttyS0")
    .action(async (file, { name, kernel, initrd, append }) => {
      if ((kernel === undefined) !== (initrd === undefined)) {
        throw new OmertaError("bad-usage", "Cannot import: --kernel and --initrd go together", {
          exit: EXIT.usage,
        });
      }
      const store = await openStore(context);
      await made((_onProgress, signal) =>
        importImage({
          store,
          name,
          file,
          signal,
          ...(kernel === undefined || initrd === undefined
            ? {}
            : { kernel: { kernel, initrd, append } }),
        })
      );
    });
}

/** The images of this home; one that a VM lies on is not given up. */
function openStore({ paths }: Context): Promise<ImageStore> {
  return ImageStore.open(paths.images, { usedBy: (image) => vmsUsing(paths.vms, image) });
}

function listCommand(context: Context): CommandUnknownOpts {
  return new Command("list")
    .description("List the images of this host")
    .option("--json", "print JSON")
    .action(async ({ json }) => {
      const store = await openStore(context);
      const images = await store.list();
      if (json) printJson(images);
      else {
        printTable(
          ["name", "id", "arch", "size", "boot", "age"],
          images.map((image) => [
            image.name,
            image.id,
            image.arch,
            formatBytes(image.virtualSizeMiB * 1024 * 1024),
            image.boot.kind === "kernel" ? "kernel" : "boot loader",
            formatAge(Date.now() - Date.parse(image.created)),
          ]),
          "There is no image: 'omerta image build' makes one",
        );
      }
      for (const { folder, reason } of await store.damaged()) {
        warn(`${folder} is no image: ${reason}`);
      }
    });
}

function removeCommand(context: Context): CommandUnknownOpts {
  return new Command("remove")
    .description("Remove an image that no VM uses")
    .argument("<name>", "name, or unique beginning of its id")
    .action(async (name) => {
      const store = await openStore(context);
      const image = await store.remove(name);
      print(`Removed ${image.name} (${image.id})`);
    });
}

/** Runs `make` with its progress shown and says what came out. */
async function made(
  make: (
    onProgress: (progress: ImageProgress) => void,
    signal: AbortSignal,
  ) => Promise<BaseImage>,
): Promise<void> {
  const since = Date.now();
  using line = new StatusLine();
  let step = "";
  const image = await interruptible((signal) =>
    make((progress) => {
      if (progress.step !== step) {
        step = progress.step;
        line.clear();
        print(`  ${step}`);
      }
      if (progress.done === undefined) return;
      const of = progress.total === undefined ? "" : ` of ${formatBytes(progress.total)}`;
      line.show(`    ${formatBytes(progress.done)}${of}`);
    }, signal)
  );
  line.clear();
  print(
    `${paint("green", "Image ready:")} ${image.name} (${image.id}), ${
      formatAge(Date.now() - since)
    }`,
  );
}
