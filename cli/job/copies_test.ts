import assert from "node:assert/strict";
import { join } from "node:path";
import { findInputs, findOutputs } from "./copies.ts";

async function inFolder(body: (folder: string) => Promise<void>): Promise<void> {
  const folder = await Deno.makeTempDir({ prefix: "omerta-job-" });
  try {
    await body(folder);
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
}

Deno.test("findInputs() gives absolute paths and refuses what is missing or meant twice", async () => {
  await inFolder(async (folder) => {
    await Deno.mkdir(join(folder, "a"));
    await Deno.writeTextFile(join(folder, "file"), "");
    await Deno.writeTextFile(join(folder, "a", "file"), "");
    assert.deepEqual(await findInputs([`${folder}/a/../file`, `${folder}/a/`]), [
      join(folder, "file"),
      join(folder, "a"),
    ]);
    assert.deepEqual(await findInputs(["."]), [Deno.cwd()]);
    await assert.rejects(findInputs([join(folder, "none")]), /none': it is not there/);
    await assert.rejects(findInputs(["/"]), /it is the root folder/);
    await assert.rejects(
      findInputs([join(folder, "file"), join(folder, "a", "file")]),
      /a\/file': .*\/file has the same name/,
    );
  });
});

Deno.test("findOutputs() splits at the first colon and wants a place that is there", async () => {
  await inFolder(async (folder) => {
    assert.deepEqual(await findOutputs(["out/x", `log:${folder}/a:b`, "/etc/os-release:."]), [
      { remote: "out/x", local: Deno.cwd() },
      { remote: "log", local: `${folder}/a:b` },
      { remote: "/etc/os-release", local: Deno.cwd() },
    ]);
    for (const bad of ["", ":x", "x:", "/", "/:x"]) {
      await assert.rejects(findOutputs([bad]), { code: "bad-output", exit: 2 }, bad);
    }
    await assert.rejects(findOutputs([`x:${folder}/none/y`]), /none is not there/);
  });
});
