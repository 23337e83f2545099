import assert from "node:assert/strict";
import { join } from "node:path";
import { OmertaError } from "../../lib/core/errors.ts";
import { main } from "../program.ts";
import { credentialsOf } from "./socks.ts";

const MODULE = new URL(import.meta.url);

Deno.test("L8: socks reads the password of its user from the first line of a file", async () => {
  const folder = await Deno.makeTempDir();
  try {
    const file = join(folder, "password");
    await Deno.writeTextFile(file, "secret\r\nnot this\n");
    assert.deepEqual(await credentialsOf("me", file), { user: "me", password: "secret" });
    assert.equal(await credentialsOf(undefined, undefined), null);
    await Deno.writeTextFile(file, "\nsecret\n");
    const wrong = [
      ["me", undefined, "want --password-file"],
      [undefined, file, "want --user"],
      ["me", file, `the first line of ${file} is empty`],
      ["me", folder, `cannot read ${folder}: Is a directory`],
      ["me", `${file}s`, `cannot read ${file}s: No such file`],
    ] as const;
    for (const [user, path, why] of wrong) {
      const error: unknown = await credentialsOf(user, path).catch((error: unknown) => error);
      assert.ok(error instanceof OmertaError && error.exit === 2, String(error));
      assert.ok(error.message.startsWith(`Cannot ask for a password: ${why}`), error.message);
    }
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
});

Deno.test("L8, G6: a wrong address is told before a daemon is asked for", async () => {
  for (const bind of ["foo", "127.0.0.999"]) {
    assert.equal(await main(["socks", "--bind", bind], MODULE), 2);
  }
  for (const spec of ["foo:8080:web:80", "*:8080:web:80", "80:[::1]:80"]) {
    assert.equal(await main(["forward", spec], MODULE), 2);
  }
  assert.equal(await main(["forward", "--reverse", "80:myhost:80"], MODULE), 2);
});
