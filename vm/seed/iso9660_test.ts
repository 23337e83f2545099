import assert from "node:assert/strict";
import { join } from "node:path";
import fc from "fast-check";
import { run } from "../../lib/core/process.ts";
import { type IsoFile, writeIso } from "./iso9660.ts";

const SECTOR = 2048;
const TIME = new Date("2026-01-02T03:04:05Z");
const utf8 = new TextEncoder();

/** A reader that shares nothing with the writer: follows the descriptors as ECMA-119 says. */
function readTree(iso: Uint8Array, tree: "rock-ridge" | "joliet"): Map<string, Uint8Array> {
  const view = new DataView(iso.buffer, iso.byteOffset, iso.length);
  const at = (tree === "joliet" ? 17 : 16) * SECTOR;
  assert.equal(new TextDecoder().decode(iso.subarray(at + 1, at + 6)), "CD001");
  assert.equal(iso[at], tree === "joliet" ? 2 : 1);
  assert.equal(view.getUint32(at + 80, true) * SECTOR, iso.length, "volume size");
  const root = at + 156;
  const extent = view.getUint32(root + 2, true) * SECTOR;
  const size = view.getUint32(root + 10, true);
  const files = new Map<string, Uint8Array>();
  let order = "";
  for (let p = extent; p < extent + size;) {
    const length = iso[p] ?? 0;
    if (length === 0) { // the rest of this sector is empty
      p = (Math.floor(p / SECTOR) + 1) * SECTOR;
      continue;
    }
    assert.equal(Math.floor(p / SECTOR), Math.floor((p + length - 1) / SECTOR), "record crosses");
    assert.equal(view.getUint32(p + 2, true), view.getUint32(p + 6), "both byte orders");
    assert.equal(view.getUint32(p + 10, true), view.getUint32(p + 14), "both byte orders");
    const from = view.getUint32(p + 2, true) * SECTOR;
    const bytes = view.getUint32(p + 10, true);
    const nameLength = iso[p + 32] ?? 0;
    const raw = iso.subarray(p + 33, p + 33 + nameLength);
    const folder = ((iso[p + 25] ?? 0) & 2) !== 0;
    if (!folder) {
      const identifier = Array.from(raw, (b) => String.fromCharCode(b)).join("");
      assert.ok(order < identifier, "records are in the order of their names");
      order = identifier;
      const name = tree === "joliet"
        ? new TextDecoder("utf-16be").decode(raw)
        : rockRidgeName(iso.subarray(p + 33 + nameLength + (1 - nameLength % 2), p + length));
      files.set(name, iso.subarray(from, from + bytes));
    }
    p += length;
  }
  return files;
}

function rockRidgeName(entries: Uint8Array): string {
  for (let p = 0; p + 4 <= entries.length; p += entries[p + 2] ?? 1) {
    if (entries[p] === 0x4e && entries[p + 1] === 0x4d) {
      return new TextDecoder().decode(entries.subarray(p + 5, p + (entries[p + 2] ?? 0)));
    }
  }
  return "";
}

const seed: readonly IsoFile[] = [
  { name: "user-data", content: utf8.encode("#cloud-config\n") },
  { name: "meta-data", content: utf8.encode("instance-id: a\n") },
  { name: "network-config", content: utf8.encode("version: 2\n") },
];

Deno.test("V4: writeIso() gives the same bytes for the same files, in any order", () => {
  const iso = writeIso({ label: "cidata", files: seed, time: TIME });
  assert.deepEqual(writeIso({ label: "cidata", files: seed.toReversed(), time: TIME }), iso);
  assert.equal(iso.length % SECTOR, 0);
});

Deno.test("V4: writeIso() writes what a reader of either tree reads back", () => {
  const name = fc.stringMatching(/^[A-Za-z0-9_-][A-Za-z0-9._-]{0,63}$/);
  const content = fc.oneof(
    fc.uint8Array({ maxLength: 64 }),
    fc.constantFrom(0, 1, SECTOR - 1, SECTOR, SECTOR + 1, 2 * SECTOR).map((n) =>
      new Uint8Array(n).fill(0xa5)
    ),
  );
  const files = fc.uniqueArray(fc.record({ name, content }), {
    selector: (file) => file.name,
    maxLength: 40,
  });
  fc.assert(
    fc.property(files, (files) => {
      const iso = writeIso({ label: "cidata", files, time: TIME });
      for (const tree of ["rock-ridge", "joliet"] as const) {
        const read = readTree(iso, tree);
        assert.deepEqual([...read.keys()].sort(), files.map((file) => file.name).sort());
        for (const file of files) assert.deepEqual(read.get(file.name), file.content);
      }
    }),
    { numRuns: 60 },
  );
});

Deno.test.each([
  { label: "cidata", names: ["a/b"] },
  { label: "cidata", names: [""] },
  { label: "cidata", names: [".hidden"] },
  { label: "cidata", names: ["x".repeat(65)] },
  { label: "cidata", names: ["ü"] },
  { label: "cidata", names: ["twice", "twice"] },
  { label: "", names: [] },
  { label: "seventeen_letters", names: [] },
  { label: "a b", names: [] },
])("writeIso() refuses label $label with names $names", ({ label, names }) => {
  const files = names.map((name) => ({ name, content: new Uint8Array(0) }));
  assert.throws(() => writeIso({ label, files, time: TIME }), { code: "iso-name" });
});

const isoinfo = await installed("isoinfo");

Deno.test({
  name: `V4: isoinfo reads label, names and contents${
    isoinfo ? "" : " (isoinfo is not installed)"
  }`,
  ignore: !isoinfo,
  async fn(): Promise<void> {
    await using file = await temporaryIso(seed);
    const out = async (...args: string[]): Promise<string> =>
      (await run("isoinfo", ["-i", file.path, ...args])).stdout;
    const about = await out("-d");
    assert.match(about, /Volume id: cidata\n/);
    assert.match(about, /Joliet with UCS level 3 found/);
    assert.match(about, /Rock Ridge signatures version 1 found/);
    assert.equal(await out("-f"), "/META_DAT.;1\n/NETWORK_.;1\n/USER_DAT.;1\n");
    assert.equal(await out("-f", "-R"), "/meta-data\n/network-config\n/user-data\n");
    assert.equal(await out("-f", "-J"), "/meta-data\n/network-config\n/user-data\n");
    for (const tree of ["-R", "-J"]) {
      assert.equal(await out(tree, "-x", "/user-data"), "#cloud-config\n");
      assert.equal(await out(tree, "-x", "/network-config"), "version: 2\n");
    }
    assert.match(await out("-R", "-l"), /-r--------\s+1\s+0\s+0\s+14 Jan {2}2 2026 .* user-data/);
  },
});

Deno.test({
  name: `V4: isoinfo reads a folder of several sectors${
    isoinfo ? "" : " (isoinfo is not installed)"
  }`,
  ignore: !isoinfo,
  async fn(): Promise<void> {
    const files = Array.from({ length: 50 }, (_, i) => ({
      name: `a-long-file-name-${i}.txt`,
      content: utf8.encode(`file ${i}`),
    }));
    await using file = await temporaryIso(files);
    for (const tree of ["-R", "-J"]) {
      const { stdout } = await run("isoinfo", ["-i", file.path, "-f", tree]);
      assert.deepEqual(
        stdout.trim().split("\n").sort(),
        files.map((f) => `/${f.name}`).sort(),
      );
      const { stdout: text } = await run("isoinfo", [
        "-i",
        file.path,
        tree,
        "-x",
        "/a-long-file-name-49.txt",
      ]);
      assert.equal(text, "file 49");
    }
  },
});

const blkid = await installed("blkid");

Deno.test({
  name: `V4: blkid finds the label that cloud-init looks for${
    blkid ? "" : " (blkid is not installed)"
  }`,
  ignore: !blkid,
  async fn(): Promise<void> {
    await using file = await temporaryIso(seed);
    const { stdout } = await run("blkid", ["-p", "-o", "export", file.path]);
    assert.match(stdout, /^LABEL=cidata$/m);
    assert.match(stdout, /^TYPE=iso9660$/m);
  },
});

async function installed(program: string): Promise<boolean> {
  try {
    await run(program, ["--version"]);
    return true;
  } catch {
    return false;
  }
}

async function temporaryIso(
  files: readonly IsoFile[],
): Promise<AsyncDisposable & { path: string }> {
  const folder = await Deno.makeTempDir();
  const path = join(folder, "seed.iso");
  await Deno.writeFile(path, writeIso({ label: "cidata", files, time: TIME }));
  return { path, [Symbol.asyncDispose]: () => Deno.remove(folder, { recursive: true }) };
}
