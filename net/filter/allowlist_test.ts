import assert from "node:assert/strict";
import { ALLOWLIST_MAX, EndpointAllowlist } from "./allowlist.ts";

const A = { address: 0xc0a86401, port: 51820 };
const B = { address: 0xffffffff, port: 65535 };

Deno.test("N3: EndpointAllowlist has nothing at first", () => {
  const list = new EndpointAllowlist();
  assert.equal(list.size, 0);
  assert.equal(list.has(A.address, A.port), false);
  assert.equal(list.has(0, 0), false);
  assert.equal(list.hasAddress(A.address), false);
});

Deno.test("N3: EndpointAllowlist has each of its endpoints and none between them", () => {
  const list = new EndpointAllowlist();
  assert.equal(list.replace([A, B]), undefined);
  assert.equal(list.has(A.address, A.port), true);
  assert.equal(list.has(B.address, B.port), true);
  assert.equal(list.has(A.address, B.port), false);
  assert.equal(list.has(B.address, A.port), false);
  assert.equal(list.has(A.address - 1, A.port), false);
  assert.equal(list.has(A.address, A.port + 1), false);
  assert.equal(list.hasAddress(A.address), true);
  assert.equal(list.hasAddress(A.address + 1), false);
  assert.equal(list.toString(), "192.168.100.1:51820, 255.255.255.255:65535");
});

Deno.test("N3: EndpointAllowlist.replace() forgets what is not on the new list", () => {
  const list = new EndpointAllowlist();
  list.replace([A]);
  list.replace([B]);
  assert.equal(list.has(A.address, A.port), false);
  assert.equal(list.has(B.address, B.port), true);
  list.replace([]);
  assert.equal(list.has(B.address, B.port), false);
});

Deno.test("N3: EndpointAllowlist.replace() takes no more than its cap, and then keeps the old list", () => {
  const list = new EndpointAllowlist();
  const many = Array.from({ length: ALLOWLIST_MAX }, (_, i) => ({ address: i, port: 1 }));
  assert.equal(list.replace(many), undefined);
  assert.equal(list.replace([...many, A]), "too-many");
  assert.equal(list.size, ALLOWLIST_MAX);
  assert.equal(list.has(A.address, A.port), false);
  assert.equal(list.has(ALLOWLIST_MAX - 1, 1), true);
});

Deno.test.each([
  { address: -1, port: 1 },
  { address: 2 ** 32, port: 1 },
  { address: 1.5, port: 1 },
  { address: NaN, port: 1 },
  { address: 1, port: 0 },
  { address: 1, port: 65536 },
  { address: 1, port: -1 },
  { address: 1, port: 0.5 },
])("N3: EndpointAllowlist.replace() refuses $address:$port and keeps the old list", (endpoint) => {
  const list = new EndpointAllowlist();
  list.replace([A]);
  assert.equal(list.replace([B, endpoint]), "bad-endpoint");
  assert.equal(list.toString(), "192.168.100.1:51820");
});

Deno.test("N3: EndpointAllowlist counts the same endpoint once", () => {
  const list = new EndpointAllowlist();
  list.replace([A, A]);
  assert.equal(list.size, 1);
});

Deno.test("N3: EndpointAllowlist does not follow changes of the array it was given", () => {
  const list = new EndpointAllowlist();
  const endpoints = [A];
  list.replace(endpoints);
  endpoints.push(B);
  assert.equal(list.has(B.address, B.port), false);
});
