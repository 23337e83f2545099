/**
 * A guest started with nothing of ours but its image and its seed: QEMU with a serial console.
 * Slow and the same everywhere (TCG); what is tested is what is inside the image.
 *
 * @module
 */

import { join } from "node:path";
import { qemuProgram } from "../../vm/qemu_command.ts";
import type { BaseImage } from "../../vm/image/image.ts";
import { runChecked } from "../../lib/core/process.ts";

/** How {@link bootPlain} starts a guest. */
export interface PlainOptions {
  /** What is beneath its disk. */
  readonly image: BaseImage;
  /** The seed disk. */
  readonly seed: Uint8Array;
  /** QEMU's arguments for the network card. */
  readonly network: readonly string[];
}

/** A running guest. */
export interface PlainGuest extends AsyncDisposable {
  /** Everything it has printed so far. */
  readonly text: () => string;
  /** Waits until it has printed something that matches; fails with its last lines after `ms`. */
  readonly waitFor: (pattern: RegExp, ms: number) => Promise<void>;
}

const LAST_CHARACTERS = 2000;

/** Starts a guest; disposing of it ends it and removes its disk. */
export async function bootPlain(options: PlainOptions): Promise<PlainGuest> {
  const { image } = options;
  await using stack = new AsyncDisposableStack();
  const folder = await Deno.makeTempDir();
  stack.defer(() => Deno.remove(folder, { recursive: true }));
  const overlay = join(folder, "disk.qcow2");
  const seed = join(folder, "seed.iso");
  await Deno.writeFile(seed, options.seed);
  await runChecked("qemu-img", [
    ...["create", "-q", "-f", "qcow2", "-b", image.disk, "-F", "qcow2", overlay, "4G"],
  ]);
  const boot = image.boot.kind === "disk" ? [] : [
    ...["-kernel", image.boot.kernel, "-initrd", image.boot.initrd, "-append", image.boot.append],
  ];
  const machine = image.arch === "x86_64" ? "q35" : "virt";
  const child = new Deno.Command(qemuProgram(image.arch), {
    args: [
      ...["-machine", machine, "-accel", "tcg,thread=multi", "-cpu", "max", "-smp", "2"],
      ...["-m", "1024", "-nodefaults", "-display", "none", "-serial", "stdio"],
      ...["-device", "virtio-rng-pci", "-drive", `file=${overlay},if=virtio,format=qcow2`],
      ...["-drive", `file=${seed},if=virtio,format=raw,readonly=on`],
      ...options.network,
      ...boot,
    ],
    stdin: "null",
    stdout: "piped",
    stderr: "inherit",
  }).spawn();
  let text = "";
  let ended = false;
  let changed = Promise.withResolvers<void>();
  const reading = (async (): Promise<void> => {
    for await (const piece of child.stdout.pipeThrough(new TextDecoderStream())) {
      text += piece;
      changed.resolve();
      changed = Promise.withResolvers();
    }
    ended = true;
    changed.resolve();
  })();
  stack.defer(async () => {
    if (!ended) child.kill("SIGKILL");
    await child.status;
    await reading;
  });
  const owned = stack.move();
  return {
    text: () => text,
    async waitFor(pattern, ms): Promise<void> {
      const late = Promise.withResolvers<void>();
      let over = false;
      const timer = setTimeout(() => {
        over = true;
        late.resolve();
      }, ms);
      try {
        while (!pattern.test(text)) {
          if (over || ended) {
            const why = ended ? "The guest ended" : `Nothing within ${ms / 1000} s`;
            throw new Error(`${why}, waiting for ${pattern}: ...${text.slice(-LAST_CHARACTERS)}`);
          }
          await Promise.race([changed.promise, late.promise]);
        }
      } finally {
        clearTimeout(timer);
      }
    },
    [Symbol.asyncDispose]: () => owned.disposeAsync(),
  };
}
