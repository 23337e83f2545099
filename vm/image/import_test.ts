import assert from "node:assert/strict";
import { join } from "node:path";
import fc from "fast-check";
import { run, runChecked } from "../../lib/core/process.ts";
import { parseDiskHeader } from "./_disk_header.ts";
import { importImage } from "./import.ts";
import { ImageStore } from "./store.ts";

const tool = (await run("qemu-img", ["--version"]).catch(() => undefined))?.code === 0;
const reason = tool ? "" : " (qemu-img is not installed)";

interface Place extends AsyncDisposable {
  readonly folder: string;
  readonly store: ImageStore;
  qemuImg(...args: string[]): Promise<void>;
}

async function place(): Promise<Place> {
  const folder = await Deno.makeTempDir();
  return {
    folder,
    store: await ImageStore.open(join(folder, "images")),
    qemuImg: async (...args) => {
      await runChecked("qemu-img", args, { cwd: folder });
    },
    [Symbol.asyncDispose]: () => Deno.remove(folder, { recursive: true }),
  };
}

async function contentOf(disk: string, folder: string): Promise<Uint8Array> {
  const raw = join(folder, "content.raw");
  await runChecked("qemu-img", ["convert", "-f", "qcow2", "-O", "raw", disk, raw]);
  return await Deno.readFile(raw);
}

const CONTENT = new Uint8Array(1 << 20).map((_, i) => i * 7);

Deno.test({
  name: `V5: importImage() takes a raw disk, and its content is never taken for a header${reason}`,
  ignore: !tool,
  async fn(): Promise<void> {
    await using p = await place();
    const file = join(p.folder, "disk.img");
    await Deno.writeFile(file, CONTENT);
    const image = await importImage({ store: p.store, name: "mine", file });
    assert.equal(image.virtualSizeMiB, 1);
    assert.deepEqual(image.boot, { kind: "disk" });
    assert.deepEqual(await contentOf(image.disk, p.folder), CONTENT);
    assert.deepEqual(await Deno.readFile(file), CONTENT);
  },
});

Deno.test({
  name: `V5: importImage() takes a qcow2 disk with a kernel beside it${reason}`,
  ignore: !tool,
  async fn(): Promise<void> {
    await using p = await place();
    await Deno.writeFile(join(p.folder, "disk.img"), CONTENT);
    await p.qemuImg("convert", "-f", "raw", "-O", "qcow2", "disk.img", "disk.qcow2");
    for (const name of ["k", "i"]) await Deno.writeTextFile(join(p.folder, name), name);
    const kernel = {
      kernel: join(p.folder, "k"),
      initrd: join(p.folder, "i"),
      append: "root=/dev/vda",
    };
    const file = join(p.folder, "disk.qcow2");
    const image = await importImage({ store: p.store, name: "mine", file, kernel });
    assert.ok(image.boot.kind === "kernel");
    assert.equal(await Deno.readTextFile(image.boot.kernel), "k");
    assert.equal(await Deno.readTextFile(image.boot.initrd), "i");
    assert.equal(image.boot.append, "root=/dev/vda");
    assert.deepEqual(await contentOf(image.disk, p.folder), CONTENT);
    const again = importImage({ store: p.store, name: "mine", file });
    await assert.rejects(again, { code: "image-name-taken", exit: 2 });
  },
});

Deno.test({
  name: `V5: importImage() refuses disks that read other files of the host${reason}`,
  ignore: !tool,
  async fn(): Promise<void> {
    await using p = await place();
    await Deno.writeFile(join(p.folder, "secret.img"), CONTENT);
    await p.qemuImg("create", "-f", "qcow2", "-b", "secret.img", "-F", "raw", "over.qcow2");
    await p.qemuImg(
      "create",
      "-f",
      "qcow2",
      "-o",
      "data_file=data.raw,data_file_raw=on",
      "outside.qcow2",
      "1M",
    );
    for (const [name, want] of [["over", /on top of another/], ["outside", /in another file/]]) {
      const file = join(p.folder, `${name}.qcow2`);
      await assert.rejects(importImage({ store: p.store, name: "bad", file }), {
        code: "image-unusable",
        exit: 2,
        message: want,
      });
    }
    assert.deepEqual(await Array.fromAsync(Deno.readDir(p.store.folder)), []);
  },
});

Deno.test("V5: importImage() names what is wrong with a file that is no disk", async () => {
  await using p = await place();
  const write = async (name: string, bytes: Uint8Array): Promise<string> => {
    await Deno.writeFile(join(p.folder, name), bytes);
    return join(p.folder, name);
  };
  const cases: [string, RegExp][] = [
    [await write("empty", new Uint8Array(0)), /is empty/],
    [await write("odd", new Uint8Array(700)), /700 bytes long/],
    [await write("gz", Uint8Array.fromHex("1f8b0800")), /compressed with gzip/],
    [await write("vmdk", Uint8Array.fromHex("4b444d5601000000")), /VMDK/],
    [await write("short", Uint8Array.fromHex("514649fb00000003")), /cut short/],
    [join(p.folder, "nowhere"), /cannot be read/],
  ];
  for (const [file, want] of cases) {
    await assert.rejects(importImage({ store: p.store, name: "bad", file }), {
      code: "image-unusable",
      message: want,
    });
  }
  assert.deepEqual(await Array.fromAsync(Deno.readDir(p.store.folder)), []);
});

Deno.test("parseDiskHeader() never throws on any bytes", () => {
  const magic = fc.constantFrom("", "514649fb00000003", "514649fb00000002", "514649fb");
  fc.assert(fc.property(magic, fc.uint8Array({ maxLength: 120 }), (start, rest) => {
    const head = Uint8Array.from([...Uint8Array.fromHex(start), ...rest]);
    const header = parseDiskHeader(head, head.length);
    if (!("fault" in header)) assert.ok(header.virtualSize > 0);
  }));
});
