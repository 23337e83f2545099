import assert from "node:assert/strict";
import fc from "fast-check";
import { inPrefix, type Ipv4Prefix, parseIpv4, parseIpv4Prefix } from "../wire/ip_address.ts";
import { AllowedIps } from "./allowed_ips.ts";

function prefix(text: string): Ipv4Prefix {
  const found = parseIpv4Prefix(text);
  assert.ok(found);
  return found;
}

function address(text: string): number {
  return parseIpv4(text) ?? 0;
}

Deno.test("W1: AllowedIps gives the owner of the longest prefix", () => {
  const table = new AllowedIps<string>();
  table.set(prefix("0.0.0.0/0"), "all");
  table.set(prefix("10.0.0.0/8"), "ten");
  table.set(prefix("10.1.0.0/16"), "ten one");
  table.set(prefix("10.1.2.3/32"), "one host");
  table.set(prefix("192.168.0.0/17"), "half");
  assert.equal(table.lookup(address("10.1.2.3")), "one host");
  assert.equal(table.lookup(address("10.1.2.4")), "ten one");
  assert.equal(table.lookup(address("10.2.0.0")), "ten");
  assert.equal(table.lookup(address("192.168.127.255")), "half");
  assert.equal(table.lookup(address("192.168.128.0")), "all");
  assert.equal(table.lookup(address("255.255.255.255")), "all");
});

Deno.test("AllowedIps moves a prefix to its new owner and forgets owners", () => {
  const table = new AllowedIps<string>();
  assert.equal(table.set(prefix("10.0.0.0/24"), "a"), undefined);
  assert.equal(table.set(prefix("10.0.0.0/24"), "b"), "a");
  assert.equal(table.lookup(address("10.0.0.1")), "b");
  table.remove("a");
  assert.equal(table.lookup(address("10.0.0.1")), "b");
  table.remove("b");
  assert.equal(table.lookup(address("10.0.0.1")), undefined);
});

Deno.test("W1: AllowedIps agrees with a list searched from end to end", () => {
  // Few bits, so that prefixes overlap.
  const prefixes = fc.tuple(fc.nat(0xffff), fc.nat(32)).map(([seed, bits]): Ipv4Prefix => {
    const mask = bits === 0 ? 0 : (-1 << (32 - bits)) >>> 0;
    return { address: (Math.imul(seed, 0x9e3779b1) & mask) >>> 0, mask, bits };
  });
  const operation = fc.record({ prefix: prefixes, owner: fc.nat(5), remove: fc.nat(9) });
  fc.assert(
    fc.property(fc.array(operation, { maxLength: 60 }), fc.array(fc.nat(0xffff)), (ops, asked) => {
      const table = new AllowedIps<number>();
      let list: { prefix: Ipv4Prefix; owner: number }[] = [];
      for (const { prefix, owner, remove } of ops) {
        if (remove === 0) {
          table.remove(owner);
          list = list.filter((entry) => entry.owner !== owner);
          continue;
        }
        table.set(prefix, owner);
        list = list.filter((entry) =>
          entry.prefix.bits !== prefix.bits || entry.prefix.address !== prefix.address
        );
        list.push({ prefix, owner });
      }
      for (const seed of asked) {
        const wanted = Math.imul(seed, 0x9e3779b1) >>> 0;
        const best = list.filter((entry) => inPrefix(wanted, entry.prefix))
          .sort((a, b) => b.prefix.bits - a.prefix.bits)[0];
        assert.equal(table.lookup(wanted), best?.owner);
        assert.equal(table.lookup(wanted | 0), best?.owner);
      }
    }),
  );
});
