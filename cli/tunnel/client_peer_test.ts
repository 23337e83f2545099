import assert from "node:assert/strict";
import { run } from "../../lib/core/process.ts";
import { addClientScript, removeClientScript } from "./client_peer.ts";

const FILE = "[Interface]\nPrivateKey = a\n\n[Peer]\nPublicKey = node\nAllowedIPs = 0.0.0.0/0\n";

/** Runs scripts on a file of this test's, one after the other; what they asked `wg` for. */
async function onFile(
  ...scripts: string[]
): Promise<{ asked: string[]; file: string; mode: number }> {
  const path = await Deno.makeTempFile();
  try {
    await Deno.writeTextFile(path, FILE);
    const asked: string[] = [];
    for (const script of scripts) {
      const here = script.replaceAll("/etc/wireguard/wg0.conf", path);
      const { code, stdout, stderr } = await run("sh", ["-s"], {
        input: `wg() { echo "$*"; }\n${here}`,
      });
      assert.equal(code, 0, stderr);
      asked.push(...stdout.split("\n").filter((line) => line !== ""));
    }
    const { mode } = await Deno.stat(path);
    return { asked, file: await Deno.readTextFile(path), mode: (mode ?? 0) & 0o777 };
  } finally {
    await Deno.remove(path);
  }
}

Deno.test("W5: addClientScript() adds one peer, in place of the former", async () => {
  const { asked, file, mode } = await onFile(
    addClientScript("one", "10.0.255.1"),
    addClientScript("two", "10.0.255.1"),
  );
  assert.deepEqual(asked, [
    "set wg0 peer one allowed-ips 10.0.255.1/32 persistent-keepalive 15",
    "set wg0 peer one remove",
    "set wg0 peer two allowed-ips 10.0.255.1/32 persistent-keepalive 15",
  ]);
  assert.match(
    file,
    /^PublicKey = node$[^]*^\[Peer\]\nPublicKey = two\nAllowedIPs = 10\.0\.255\.1\/32$/m,
  );
  assert.ok(!file.includes("one"));
  assert.equal(mode, 0o600);
});

Deno.test("W6: removeClientScript() leaves the file as it was, also without a client", async () => {
  assert.deepEqual(await onFile(removeClientScript()), { asked: [], file: FILE, mode: 0o600 });
  const { asked, file } = await onFile(addClientScript("one", "10.0.255.1"), removeClientScript());
  assert.equal(asked.at(-1), "set wg0 peer one remove");
  assert.equal(file, FILE);
});
