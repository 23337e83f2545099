import assert from "node:assert/strict";
import { join } from "node:path";
import { run, runChecked } from "./process.ts";
import { generateSshKey } from "./ssh_key.ts";

Deno.test("generateSshKey() writes a key that ssh-keygen reads back", async () => {
  const folder = await Deno.makeTempDir();
  try {
    for (const comment of ["", "a", "lender@host", "twelve chars", "with spaces in it"]) {
      const key = generateSshKey(comment);
      const file = join(folder, `key-${comment.length}`);
      await Deno.writeTextFile(file, key.privatePem, { mode: 0o600 });
      const derived = await runChecked("ssh-keygen", ["-y", "-P", "", "-f", file]);
      assert.equal(derived.stdout.trim(), key.publicLine);
    }
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
});

Deno.test("generateSshKey() gives another key each time", () => {
  assert.notEqual(generateSshKey("x").publicLine, generateSshKey("x").publicLine);
});

Deno.test("the private key signs what the public key verifies", async () => {
  const folder = await Deno.makeTempDir();
  try {
    const key = generateSshKey("signer");
    const file = join(folder, "key");
    await Deno.writeTextFile(file, key.privatePem, { mode: 0o600 });
    await Deno.writeTextFile(join(folder, "allowed"), `signer ${key.publicLine}\n`);
    await Deno.writeTextFile(join(folder, "data"), "data");
    await runChecked("ssh-keygen", ["-Y", "sign", "-f", file, "-n", "t", join(folder, "data")]);
    const check = await run("ssh-keygen", [
      ...["-Y", "verify", "-f", join(folder, "allowed"), "-I", "signer", "-n", "t"],
      ...["-s", join(folder, "data.sig")],
    ], { input: "data" });
    assert.equal(check.code, 0, check.stderr);
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
});
