import assert from "node:assert/strict";
import { join } from "node:path";
import { writeFileAtomic } from "./files.ts";

Deno.test("writeFileAtomic() leaves what was asked for last, whatever takes longer", async () => {
  const folder = await Deno.makeTempDir();
  try {
    const path = join(folder, "file");
    const long = "x".repeat(8_000_000);
    await Promise.all([
      writeFileAtomic(path, long),
      assert.rejects(writeFileAtomic(join(folder, "none", "file"), "lost"), {
        code: "write-failed",
      }),
      writeFileAtomic(path, long),
      writeFileAtomic(path, "last"),
    ]);
    assert.equal(await Deno.readTextFile(path), "last");
    const left = await Array.fromAsync(Deno.readDir(folder), ({ name }) => name);
    assert.deepEqual(left, ["file"]);
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
});

Deno.test("writeFileAtomic() goes on after a write that failed", async () => {
  const folder = await Deno.makeTempDir();
  try {
    const path = join(folder, "sub", "file");
    const failed = assert.rejects(writeFileAtomic(path, "first"), { code: "write-failed" });
    const made = Deno.mkdir(join(folder, "sub"));
    await Promise.all([failed, made]);
    await writeFileAtomic(path, "second");
    assert.equal(await Deno.readTextFile(path), "second");
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
});
