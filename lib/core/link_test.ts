import assert from "node:assert/strict";
import fc from "fast-check";
import { OmertaError } from "./errors.ts";
import { formatLink, parseHostPort, parseLink } from "./link.ts";

const KEY = new Uint8Array(32).fill(0xab);

Deno.test("I4: formatLink() gives the documented form", () => {
  assert.equal(
    formatLink({ key: KEY, host: "192.168.1.100", port: 51820 }),
    `omerta://connect?key=${"ab".repeat(32)}&host=192.168.1.100&port=51820`,
  );
});

Deno.test("I4: parseLink(formatLink(x)) gives x back", () => {
  const host = fc.oneof(fc.ipV4(), fc.constantFrom("::1", "fe80::1", "lender.example.org"));
  fc.assert(
    fc.property(
      fc.uint8Array({ minLength: 32, maxLength: 32 }),
      host,
      fc.integer({ min: 1, max: 65535 }),
      (key, host, port) => {
        assert.deepEqual(parseLink(formatLink({ key, host, port })), { key, host, port });
      },
    ),
  );
});

Deno.test.each([
  ["http://connect?key=1", "does not begin"],
  ["omerta://connect?", "the key has 0 characters"],
  [`omerta://connect?key=${"g".repeat(64)}&host=a&port=1`, "want 64 of 0-9 and a-f"],
  [`omerta://connect?key=${"ab".repeat(32)}&host=&port=1`, "the host is ''"],
  [`omerta://connect?key=${"ab".repeat(32)}&host=a b&port=1`, "the host is 'a b'"],
  [`omerta://connect?key=${"ab".repeat(32)}&host=a&port=0`, "want a number from 1 to 65535"],
  [`omerta://connect?key=${"ab".repeat(32)}&host=a&port=0x10`, "want a number from 1 to 65535"],
  [`omerta://connect?key=${"ab".repeat(32)}&key=${"ab".repeat(32)}&host=a`, "given twice"],
])("I4: parseLink(%s) is refused", (link, why) => {
  assert.throws(() => parseLink(link), (error: OmertaError) => {
    assert.equal(error.exit, 2);
    assert.ok(error.message.includes(why), error.message);
    return true;
  });
});

Deno.test("I4: parseLink() throws nothing but its own errors, and never quotes the key", () => {
  fc.assert(
    fc.property(
      fc.string(),
      fc.string({ unit: fc.constantFrom(..."0123456789abcdefg"), maxLength: 70 }),
      (a, key) => {
        try {
          parseLink(`omerta://connect?key=${key}&host=${a}`);
        } catch (error) {
          assert.ok(error instanceof OmertaError);
          if (key.length > 8) assert.ok(!error.message.includes(key));
        }
      },
    ),
  );
});

Deno.test("parseHostPort() takes addresses and names with and without a port", () => {
  assert.deepEqual(parseHostPort("192.168.1.100"), { host: "192.168.1.100", port: undefined });
  assert.deepEqual(parseHostPort("host:51820"), { host: "host", port: 51820 });
  assert.deepEqual(parseHostPort("[::1]:9"), { host: "::1", port: 9 });
  assert.deepEqual(parseHostPort("fe80::1"), { host: "fe80::1", port: undefined });
  assert.throws(() => parseHostPort("a b"), { code: "bad-host" });
  assert.throws(() => parseHostPort("host:x"), { code: "bad-port" });
});
