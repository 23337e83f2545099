import assert from "node:assert/strict";
import { ProxyBody } from "../../lib/api/proxy_schemas.ts";
import { literal, parseForward } from "./forward_argument.ts";

Deno.test("parseForward() reads a port here that leads to a VM", () => {
  const to = { kind: "forward", host: "web", port: 80 } as const;
  for (
    const [text, address] of [
      ["8080:web:80", "127.0.0.1"],
      ["localhost:8080:web:80", "127.0.0.1"],
      ["0.0.0.0:8080:web:80", "0.0.0.0"],
      ["[::1]:8080:web:80", "::1"],
    ] as const
  ) assert.deepEqual(parseForward(text, false), { ...to, listen: { address, port: 8080 } });
});

Deno.test("parseForward() reads a port of the tunnel that leads here", () => {
  const body = { kind: "reverse", port: 8000 } as const;
  assert.deepEqual(parseForward("8000:localhost:80", true), {
    ...body,
    to: { address: "127.0.0.1", port: 80 },
  });
  assert.deepEqual(parseForward("8000:[::1]:80", true), {
    ...body,
    to: { address: "::1", port: 80 },
  });
  assert.throws(() => parseForward("10.0.0.1:8000:localhost:80", true), { code: "bad-forward" });
});

Deno.test("parseForward() refuses anything else and says what it wants", () => {
  for (const text of ["", "80", "web:80", "80:web", "80:web:80:1", ":80:web:80", "80::80"]) {
    assert.throws(() => parseForward(text, false), { code: "bad-forward", exit: 2 }, text);
  }
  for (const text of ["0:web:80", "80:web:65536"]) {
    assert.throws(() => parseForward(text, false), { code: "bad-port", exit: 2 }, text);
  }
});

Deno.test("G6: parseForward() takes addresses of this computer and none of its names", () => {
  for (const text of ["foo:8080:web:80", "*:8080:web:80", "127.0.0.999:8080:web:80"]) {
    assert.throws(() => parseForward(text, false), { code: "bad-address", exit: 2 }, text);
  }
  for (const text of ["80:myhost:80", "80:[::g]:80", "80:[1.2.3]:80"]) {
    assert.throws(() => parseForward(text, true), { exit: 2 }, text);
  }
});

Deno.test("G6: parseForward() takes nothing for a VM that none is called", () => {
  for (const text of ["80:[::1]:80", "80:a b:80", "80:web\n:80", `80:${"x".repeat(254)}:80`]) {
    assert.throws(() => parseForward(text, false), { code: "bad-forward", exit: 2 }, text);
  }
});

Deno.test("G6: literal() gives addresses as the daemon takes them", () => {
  const taken = { localhost: "127.0.0.1", "0.0.0.0": "0.0.0.0", "[::1]": "::1", "::1": "::1" };
  for (const [text, address] of Object.entries(taken)) {
    assert.equal(literal(text), address);
    const listen = { address, port: 1 };
    ProxyBody.parse({ kind: "socks", listen, credentials: null });
  }
  for (const text of ["", "foo", "*", "127.0.0.999", "1.2.3", "[", "[foo]", "fe80::1%eth0"]) {
    assert.throws(() => literal(text), { code: "bad-address", exit: 2 }, text);
  }
});
