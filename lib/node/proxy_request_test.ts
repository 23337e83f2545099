import assert from "node:assert/strict";
import { ProxyRequest, proxyWords } from "./proxy_request.ts";

const LISTEN = { address: "::1", port: 8080 } as const;

function forwardTo(host: string): ProxyRequest {
  return { kind: "forward", listen: LISTEN, host, port: 80 };
}

Deno.test("G6: ProxyRequest takes names, ids and IPv4 addresses of VMs, and no other host", () => {
  const good = ["web", "web.omerta", "my_vm-2", "0123456789abcdef", "10.0.0.2", "h".repeat(253)];
  for (const host of good) assert.ok(ProxyRequest.safeParse(forwardTo(host)).success, host);
  for (const host of ["", "::1", "[::1]", "web:80", "a b", "web\n", "wéb", "h".repeat(254)]) {
    const { error } = ProxyRequest.safeParse(forwardTo(host));
    assert.deepEqual(
      error?.issues.map(({ path, message }) => [path.join("."), message]),
      [["host", "want the name, id or IPv4 address of a VM"]],
      host,
    );
  }
});

Deno.test("G6: proxyWords() writes addresses of IPv6 in brackets", () => {
  assert.deepEqual(proxyWords(forwardTo("web")), { listen: "[::1]:8080", to: "web:80" });
  assert.deepEqual(proxyWords({ kind: "reverse", port: 80, to: LISTEN }), {
    listen: "80",
    to: "[::1]:8080",
  });
  assert.deepEqual(proxyWords({ kind: "socks", listen: LISTEN, credentials: null }), {
    listen: "[::1]:8080",
    to: undefined,
  });
});
