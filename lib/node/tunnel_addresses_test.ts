import assert from "node:assert/strict";
import { firstFreeHost, hostAddress, hostOf } from "./tunnel_addresses.ts";

Deno.test("firstFreeHost() begins at 10.0.0.2 and passes what is taken", () => {
  assert.equal(hostAddress(firstFreeHost(new Set())), "10.0.0.2");
  assert.equal(hostAddress(firstFreeHost(new Set([2, 3, 5]))), "10.0.0.4");
});

Deno.test("firstFreeHost() says so when all are taken", () => {
  const all = new Set(Array.from({ length: 65_536 }, (_, i) => i));
  assert.throws(() => firstFreeHost(all), { code: "no-address" });
});

Deno.test("hostOf() is the inverse and refuses addresses outside the tunnel", () => {
  assert.equal(hostOf(hostAddress(300)), 300);
  for (
    const no of [
      "10.0.0.0",
      "10.0.0.1",
      "10.0.255.1",
      "10.0.255.255",
      "10.1.0.2",
      "192.168.0.2",
      "x",
    ]
  ) {
    assert.equal(hostOf(no), undefined, no);
  }
});
