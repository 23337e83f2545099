import assert from "node:assert/strict";
import fc from "fast-check";
import { Endpoint, SOCKADDR_LEN } from "./endpoint.ts";

Deno.test("Endpoint.of() writes the sockaddr_in6 of a mapped IPv4 address", () => {
  assert.equal(
    Endpoint.of("192.168.1.100", 51820)?.sockaddr.toHex(),
    // family, port, flow information, ::ffff:192.168.1.100, scope
    "0a00" + "ca6c" + "00000000" + "00000000000000000000ffffc0a80164" + "00000000",
  );
});

Deno.test("Endpoint.of() writes the sockaddr_in6 of an IPv6 address", () => {
  assert.equal(
    Endpoint.of("2001:db8::1", 53)?.sockaddr.toHex(),
    "0a00" + "0035" + "00000000" + "20010db8000000000000000000000001" + "00000000",
  );
});

Deno.test.each([
  { address: "192.168.1.100", port: 65536 },
  { address: "192.168.1.100", port: -1 },
  { address: "192.168.1.100", port: 1.5 },
  { address: "192.168.1", port: 1 },
  { address: "010.0.0.1", port: 1 },
  { address: "::g", port: 1 },
  { address: "", port: 1 },
])("Endpoint.of($address, $port) refuses", ({ address, port }) => {
  assert.equal(Endpoint.of(address, port), undefined);
});

Deno.test("Endpoint gives back any IPv4 address and port, at any place in a buffer", () => {
  fc.assert(fc.property(fc.ipV4(), fc.nat(65535), fc.nat(9), (address, port, at) => {
    const endpoint = Endpoint.of(address, port);
    assert.ok(endpoint);
    const names = new Uint8Array(SOCKADDR_LEN + 10).fill(0xa5);
    names.set(endpoint.sockaddr, at);
    const copy = Endpoint.fromSockaddr(names, at);
    names.fill(0);
    assert.equal(copy.address, address);
    assert.equal(copy.port, port);
    assert.equal(copy.toString(), `${address}:${port}`);
    assert.ok(copy.equals(endpoint));
    assert.ok(copy.equalsSockaddr(endpoint.sockaddr, 0));
  }));
});

Deno.test("Endpoint.toString() puts an IPv6 address in brackets", () => {
  assert.equal(Endpoint.of("fe80:0::1", 7)?.toString(), "[fe80::1]:7");
});

Deno.test("Endpoint.equals() tells port and address apart", () => {
  const one = Endpoint.of("10.0.0.1", 1);
  const others = [Endpoint.of("10.0.0.1", 2), Endpoint.of("10.0.0.2", 1), Endpoint.of("::1", 1)];
  for (const other of others) assert.ok(one && other && !one.equals(other) && !other.equals(one));
});
