import assert from "node:assert/strict";
import { readSshBanner } from "./ssh_banner.ts";

/** A server on loopback that says `text` to whoever connects. */
function serve(text: string): { readonly port: number } & AsyncDisposable {
  const listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  const served = (async () => {
    for await (const connection of listener) {
      await connection.write(new TextEncoder().encode(text));
      connection.close();
    }
  })();
  return {
    port: listener.addr.port,
    [Symbol.asyncDispose]: async (): Promise<void> => {
      listener.close();
      await served;
    },
  };
}

Deno.test("readSshBanner() reads the identification string", async () => {
  await using server = serve("SSH-2.0-OpenSSH_9.2p1 Debian\r\nmore");
  const banner = await readSshBanner("127.0.0.1", server.port, new AbortController().signal);
  assert.equal(banner, "SSH-2.0-OpenSSH_9.2p1 Debian");
});

Deno.test("readSshBanner() takes nothing else for an SSH server", async () => {
  await using server = serve("HTTP/1.1 400 Bad Request\r\n");
  const { signal } = new AbortController();
  assert.equal(await readSshBanner("127.0.0.1", server.port, signal), undefined);
});

Deno.test("readSshBanner() gives nothing when refused or aborted", async () => {
  const listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  const { port } = listener.addr;
  const abort = new AbortController();
  const waiting = readSshBanner("127.0.0.1", port, abort.signal);
  abort.abort();
  assert.equal(await waiting, undefined);
  listener.close();
  assert.equal(await readSshBanner("127.0.0.1", port, new AbortController().signal), undefined);
});
