import assert from "node:assert/strict";
import { join } from "node:path";
import type { BaseImage } from "./image.ts";
import { ImageStore, type NewImage } from "./store.ts";

const newImage: NewImage = {
  name: "debian-12",
  arch: "x86_64",
  virtualSizeMiB: 2048,
  boot: { kind: "disk" },
  replace: false,
};

async function temporaryFolder(): Promise<AsyncDisposable & { path: string }> {
  const path = await Deno.makeTempDir();
  return { path, [Symbol.asyncDispose]: () => Deno.remove(path, { recursive: true }) };
}

async function add(
  store: ImageStore,
  content: string,
  change: Partial<NewImage> = {},
): Promise<BaseImage> {
  await using draft = await store.draft();
  await Deno.writeTextFile(join(draft.folder, "disk.qcow2"), content);
  await Deno.writeTextFile(join(draft.folder, "left-over"), "x");
  return await draft.commit({ ...newImage, ...change });
}

async function namesIn(folder: string): Promise<string[]> {
  return (await Array.fromAsync(Deno.readDir(folder), (entry) => entry.name)).sort();
}

Deno.test("V5: ImageStore keeps an image under the hash of its content, and nothing else", async () => {
  await using home = await temporaryFolder();
  const store = await ImageStore.open(join(home.path, "images"));
  const image = await add(store, "one");
  assert.match(image.id, /^[0-9a-f]{16}$/);
  assert.equal(image.disk, join(home.path, "images", image.id, "disk.qcow2"));
  assert.deepEqual(await namesIn(join(home.path, "images", image.id)), [
    "disk.qcow2",
    "image.json",
  ]);
  assert.deepEqual(await namesIn(store.folder), [image.id]);
  // Another process that opens the same folder sees the same.
  const again = await ImageStore.open(store.folder);
  assert.deepEqual(await again.list(), [image]);
  assert.deepEqual(await again.default(), image);
});

Deno.test("V5: ImageStore does not store the same content twice", async () => {
  await using home = await temporaryFolder();
  const store = await ImageStore.open(home.path);
  const image = await add(store, "one");
  assert.deepEqual(await add(store, "one", { name: "other" }), image);
  assert.equal((await store.list()).length, 1);
});

Deno.test("V5: ImageStore returns kernel, initial RAM disk and command line", async () => {
  await using home = await temporaryFolder();
  const store = await ImageStore.open(home.path);
  await using draft = await store.draft();
  for (const name of ["disk.qcow2", "vmlinuz", "initrd"]) {
    await Deno.writeTextFile(join(draft.folder, name), name);
  }
  const boot = { kind: "kernel", append: "root=/dev/vda" } as const;
  const { id } = await draft.commit({ ...newImage, boot });
  const folder = join(home.path, id);
  assert.deepEqual((await store.find("debian-12")).boot, {
    kind: "kernel",
    kernel: join(folder, "vmlinuz"),
    initrd: join(folder, "initrd"),
    append: "root=/dev/vda",
  });
});

Deno.test("V5: find() takes a name, an id or the beginning of one", async () => {
  await using home = await temporaryFolder();
  const store = await ImageStore.open(home.path);
  await assert.rejects(store.find("web"), { code: "image-missing", exit: 3 });
  await assert.rejects(store.default(), { code: "image-missing", exit: 3 });
  const one = await add(store, "one", { name: "one" });
  const two = await add(store, "two", { name: "two" });
  assert.deepEqual(await store.find("two"), two);
  assert.deepEqual(await store.find(one.id), one);
  assert.deepEqual(await store.find(one.id.slice(0, 8)), one);
  await assert.rejects(store.find("three"), /there are (one, two|two, one)/);
  await assert.rejects(store.find(""), { code: "image-missing" });
});

Deno.test("V5: find() names the images that a beginning of an id could mean", async () => {
  await using home = await temporaryFolder();
  const store = await ImageStore.open(home.path);
  const first = new Map<string, BaseImage>();
  for (let i = 0;; i++) {
    assert.ok(i < 17, "17 ids cannot all begin differently");
    const image = await add(store, `image ${i}`, { name: `image-${i}` });
    const digit = image.id.slice(0, 1);
    const other = first.get(digit);
    first.set(digit, image);
    if (!other) continue;
    await assert.rejects(store.find(digit), (error: Error & { code?: string }) => {
      assert.equal(error.code, "image-ambiguous");
      assert.ok(error.message.includes(other.id) && error.message.includes(image.id));
      return true;
    });
    return;
  }
});

Deno.test("V5: remove() refuses while the disk of a VM lies on top", async () => {
  await using home = await temporaryFolder();
  let users: string[] = ["web"];
  const store = await ImageStore.open(home.path, { usedBy: () => Promise.resolve(users) });
  const image = await add(store, "one");
  await assert.rejects(store.remove(image.id), { code: "image-in-use" });
  assert.equal((await store.list()).length, 1);
  users = [];
  assert.deepEqual(await store.remove("debian-12"), image);
  assert.deepEqual(await namesIn(home.path), []);
});

Deno.test("V5: commit() replaces an image of the same name only when told to", async () => {
  await using home = await temporaryFolder();
  let users: string[] = [];
  const store = await ImageStore.open(home.path, { usedBy: () => Promise.resolve(users) });
  await add(store, "one");
  await assert.rejects(add(store, "two"), { code: "image-name-taken", exit: 2 });
  const two = await add(store, "two", { replace: true });
  assert.deepEqual(await store.list(), [two]);
  // A VM still runs on it: it keeps its files and loses its name.
  users = ["web"];
  const three = await add(store, "three", { replace: true });
  assert.deepEqual(await store.find("debian-12"), three);
  assert.equal((await store.find(two.id)).name, `debian-12-old-${two.id.slice(0, 8)}`);
  assert.equal((await store.list()).length, 2);
});

Deno.test("V5: findRecipe() finds what was built from the same recipe", async () => {
  await using home = await temporaryFolder();
  const store = await ImageStore.open(home.path);
  const image = await add(store, "one", { recipe: "abc" });
  assert.deepEqual(await store.findRecipe("abc"), image);
  assert.equal(await store.findRecipe("abd"), undefined);
});

Deno.test("V5: a draft that is not committed leaves nothing", async () => {
  await using home = await temporaryFolder();
  const store = await ImageStore.open(home.path);
  await assert.rejects(async () => {
    await using draft = await store.draft();
    await Deno.writeTextFile(join(draft.folder, "disk.qcow2"), "half");
    throw new Error("The build failed");
  }, /The build failed/);
  assert.deepEqual(await namesIn(home.path), []);
});

Deno.test("V5: open() sweeps what killed builds left, and no build that is still running", async () => {
  await using home = await temporaryFolder();
  const store = await ImageStore.open(home.path);
  await using running = await store.draft();
  // The process that had this id was started at another time than the one that has it now.
  const reused = join(home.path, `.new-${Deno.pid}-1-aaaaaaaa`);
  const ended = new Deno.Command("true").spawn();
  await ended.status;
  const killed = join(home.path, `.new-${ended.pid}-123-bbbbbbbb`);
  for (const folder of [reused, killed]) {
    await Deno.mkdir(folder);
    await Deno.writeTextFile(join(folder, "disk.qcow2"), "half");
  }
  await Deno.writeTextFile(join(home.path, "notes.txt"), "not ours");
  await ImageStore.open(home.path);
  assert.deepEqual(await namesIn(home.path), [
    running.folder.slice(home.path.length + 1),
    "notes.txt",
  ]);
});

Deno.test("V5: lock() lets one build run at a time", async () => {
  await using home = await temporaryFolder();
  const store = await ImageStore.open(home.path);
  const other = await ImageStore.open(home.path);
  const first = await store.lock(() => assert.fail("nobody else has it"));
  const order: string[] = [];
  const second = other.lock(() => {
    order.push("waits");
    first[Symbol.dispose]();
  });
  (await second)[Symbol.dispose]();
  assert.deepEqual(order, ["waits"]);
  using _third = await store.lock(() => {});
  await assert.rejects(other.lock(() => {}, AbortSignal.abort()), { name: "AbortError" });
});

Deno.test.each([
  { what: "not JSON", text: "{", want: /not JSON/ },
  { what: "of another shape", text: '{"version":2}', want: /image\.json: / },
  { what: "about another image", text: undefined, want: /is about/ },
])("V5: an image whose metadata is $what is named and does not hide the others", async (row) => {
  await using home = await temporaryFolder();
  const store = await ImageStore.open(home.path);
  const one = await add(store, "one", { name: "one" });
  const two = await add(store, "two", { name: "two" });
  const text = row.text ?? await Deno.readTextFile(join(home.path, two.id, "image.json"));
  await Deno.writeTextFile(join(home.path, one.id, "image.json"), text);
  assert.deepEqual(await store.list(), [two]);
  const [damaged, ...rest] = await store.damaged();
  assert.deepEqual(rest, []);
  assert.equal(damaged?.folder, join(home.path, one.id));
  assert.match(damaged?.reason ?? "", row.want);
  // The same content takes the place of what is damaged.
  assert.equal((await add(store, "one", { name: "one" })).id, one.id);
  assert.deepEqual(await store.damaged(), []);
});

Deno.test.each([{ name: "" }, { name: "../x" }, { name: "a b" }, { name: "0123456789abcdef" }])(
  "V5: commit() refuses the name '$name'",
  async ({ name }) => {
    await using home = await temporaryFolder();
    const store = await ImageStore.open(home.path);
    await assert.rejects(add(store, "one", { name }), { code: "image-name", exit: 2 });
    assert.deepEqual(await namesIn(home.path), []);
  },
);
