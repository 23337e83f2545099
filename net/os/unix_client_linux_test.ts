import assert from "node:assert/strict";
import { join } from "node:path";
import { commandMissing, testIf } from "../../tests/support/requires.ts";
import { libc } from "./libc.ts";
import { UnixClient } from "./unix_client_linux.ts";

const missing = libc() === undefined ? "needs FFI on Linux" : commandMissing("python3");

/** Takes a connection and, from it, another one, into which it says a word. */
const TAKER_PY = `
import socket, sys
s = socket.socket(socket.AF_UNIX)
s.bind(sys.argv[1])
s.listen()
print("ready", flush=True)
c, _ = s.accept()
data, fds, _, _ = socket.recv_fds(c, 1, 1)
given = socket.socket(fileno=fds[0])
given.sendall(b"from the taker, " + given.recv(100))
`;

testIf(
  missing,
  "L6: handOver() gives a connection to another process, and keeps nothing",
  async () => {
    const folder = await Deno.makeTempDir({ prefix: "omerta-hand-" });
    await using cleanup = new AsyncDisposableStack();
    cleanup.defer(() => Deno.remove(folder, { recursive: true }));
    const [there, taker] = [join(folder, "there"), join(folder, "taker")];
    using server = Deno.listen({ transport: "unix", path: there });
    const child = new Deno.Command("python3", { args: ["-c", TAKER_PY, taker], stdout: "piped" })
      .spawn();
    const output = child.stdout.getReader();
    await output.read();
    {
      using client = UnixClient.connect(there);
      using to = UnixClient.connect(taker);
      assert.equal(client.handOver(to.fd), true);
    }
    using connection = await server.accept();
    await connection.write(new TextEncoder().encode("hello"));
    const bytes = new Uint8Array(100);
    const count = await connection.read(bytes);
    assert.equal(new TextDecoder().decode(bytes.subarray(0, count ?? 0)), "from the taker, hello");
    assert.equal(await connection.read(bytes), null);
    await output.cancel();
    assert.equal((await child.status).code, 0);
  },
);

testIf(missing, "handOver() says so when there is nobody to hand over to", async () => {
  const folder = await Deno.makeTempDir({ prefix: "omerta-hand-" });
  await using cleanup = new AsyncDisposableStack();
  cleanup.defer(() => Deno.remove(folder, { recursive: true }));
  const path = join(folder, "there");
  using _server = Deno.listen({ transport: "unix", path });
  using client = UnixClient.connect(path);
  assert.equal(client.handOver(-1), false);
});

testIf(missing, "connect() fails where nobody listens", () => {
  assert.throws(() => UnixClient.connect("/nowhere/at/all"), { code: "connect-failed" });
  for (const path of ["", `/${"x".repeat(200)}`]) {
    assert.throws(() => UnixClient.connect(path), /want a path of/);
  }
});
