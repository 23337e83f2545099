import assert from "node:assert/strict";
import fc from "fast-check";
import { parseIpv4Prefix } from "../wire/ip_address.ts";
import { emitConfig, parseConfig, parseEndpoint, type WireGuardConfig } from "./config_text.ts";

const KEY = new Uint8Array(32).fill(1);
const KEY_TEXT = "AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE=";
const OTHER = new Uint8Array(32).fill(2);
const OTHER_TEXT = "AgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgI=";

function present<T>(value: T | undefined): T {
  assert.ok(value !== undefined);
  return value;
}

Deno.test("W2: emitConfig() writes a client", () => {
  const text = emitConfig({
    privateKey: KEY,
    addresses: [{ address: 0x0a000001, bits: 24 }],
    dns: [0x0a000001],
    mtu: 1400,
    peers: [{
      publicKey: OTHER,
      presharedKey: KEY,
      allowedIps: [present(parseIpv4Prefix("10.0.0.0/24")), present(parseIpv4Prefix("0.0.0.0/0"))],
      endpoint: present(parseEndpoint("192.0.2.1:51820")),
      keepaliveSeconds: 25,
    }],
  });
  assert.equal(
    text,
    `[Interface]
PrivateKey = ${KEY_TEXT}
Address = 10.0.0.1/24
DNS = 10.0.0.1
MTU = 1400

[Peer]
PublicKey = ${OTHER_TEXT}
PresharedKey = ${KEY_TEXT}
AllowedIPs = 10.0.0.0/24, 0.0.0.0/0
Endpoint = 192.0.2.1:51820
PersistentKeepalive = 25
`,
  );
});

Deno.test("W2: emitConfig() writes a server with several clients", () => {
  const peer = { publicKey: OTHER, allowedIps: [present(parseIpv4Prefix("10.0.0.2/32"))] };
  const text = emitConfig({
    privateKey: KEY,
    addresses: [],
    listenPort: 51820,
    peers: [peer, { publicKey: KEY, allowedIps: [] }],
  });
  assert.equal(
    text,
    `[Interface]
PrivateKey = ${KEY_TEXT}
ListenPort = 51820

[Peer]
PublicKey = ${OTHER_TEXT}
AllowedIPs = 10.0.0.2/32

[Peer]
PublicKey = ${KEY_TEXT}
`,
  );
});

Deno.test("W2: parseConfig() reads any case, comments, and words given again where wg adds", () => {
  const config = parseConfig(`
# a comment
[interface]
privatekey=${KEY_TEXT}   # another
ADDRESS = 10.0.0.1/24,10.1.0.1/16\r
Address = 10.2.0.1/8

[PEER]
PublicKey = ${OTHER_TEXT}
AllowedIPs = 10.0.0.2/32
AllowedIPs =
AllowedIPs = 10.0.0.3/32
PersistentKeepalive = off
`);
  assert.equal(config.addresses.length, 3);
  assert.deepEqual(config.peers.map((peer) => peer.allowedIps.map(({ address }) => address)), [
    [0x0a000002, 0x0a000003],
  ]);
  assert.ok(!("keepaliveSeconds" in (config.peers[0] ?? {})));
});

const HEAD = `[Interface]\nPrivateKey = ${KEY_TEXT}\n`;
const PEER = `${HEAD}[Peer]\nPublicKey = ${OTHER_TEXT}\n`;

Deno.test.each([
  { text: "", want: /line 1: there is no \[Interface\]/ },
  { text: "ListenPort = 1", want: /line 1: ListenPort stands before any section/ },
  { text: "[Interface]\nPrivateKey = AQEB", want: /line 2: PrivateKey has 4 characters/ },
  { text: `${HEAD}[Interface]`, want: /line 3: a second \[Interface\]/ },
  { text: `${HEAD}PrivateKey = ${KEY_TEXT}`, want: /line 3: a second PrivateKey/ },
  { text: `${HEAD}ListenPort = 0`, want: /ListenPort is "0", want 1 to 65535/ },
  { text: `${HEAD}ListenPort = 65536`, want: /ListenPort is "65536"/ },
  { text: `${HEAD}ListenPort = 1e3`, want: /ListenPort is "1e3"/ },
  { text: `${HEAD}MTU = 100`, want: /MTU is "100", want 576/ },
  { text: `${HEAD}Address = 10.0.0.1`, want: /Address has "10.0.0.1"/ },
  { text: `${HEAD}Address = 10.0.0.1/33`, want: /Address has/ },
  { text: `${HEAD}PostUp = reboot`, want: /PostUp is not a word of \[Interface\]/ },
  { text: `${HEAD}Nonsense`, want: /line 3: got no "="/ },
  { text: `${HEAD}[Peer]`, want: /line 3: this \[Peer\] has no PublicKey/ },
  { text: `${PEER}AllowedIPs = 10.0.0.1/24`, want: /AllowedIPs has "10.0.0.1\/24"/ },
  { text: `${PEER}Endpoint = example.org:1`, want: /Endpoint is "example.org:1"/ },
  { text: `${PEER}Endpoint = 1.2.3.4`, want: /Endpoint is/ },
  { text: `${PEER}Endpoint = [1.2.3.4]:1`, want: /Endpoint is/ },
  { text: `${PEER}PersistentKeepalive = -1`, want: /PersistentKeepalive is "-1"/ },
  { text: `${PEER}ListenPort = 1`, want: /ListenPort is not a word of \[Peer\]/ },
])("W2: parseConfig() refuses $want", ({ text, want }) => {
  assert.throws(() => parseConfig(text), { code: "bad-wireguard-config", message: want });
});

Deno.test("W2: parseConfig() never shows a key", () => {
  assert.throws(
    () => parseConfig(`[Interface]\nPrivateKey = ${KEY_TEXT}x`),
    (error: Error) => !error.message.includes("AQEB"),
  );
});

Deno.test("W2: parseConfig() throws nothing but its own error on any text", () => {
  const line = fc.constantFrom(
    "[Interface]",
    "[Peer]",
    `PrivateKey = ${KEY_TEXT}`,
    `PublicKey=${OTHER_TEXT}`,
    "AllowedIPs = 1.2.3.4/32",
    "= = =",
    "#",
  );
  fc.assert(
    fc.property(fc.array(fc.oneof(line, fc.string()), { maxLength: 12 }), (lines) => {
      try {
        parseConfig(lines.join("\n"));
      } catch (error) {
        assert.equal((error as { code?: string }).code, "bad-wireguard-config");
      }
    }),
  );
});

Deno.test("W2: parseConfig(emitConfig(x)) gives x back", () => {
  const key = fc.uint8Array({ minLength: 32, maxLength: 32 });
  const prefix = fc.tuple(fc.nat(0xffff_ffff), fc.nat(32)).map(([address, bits]) => {
    const mask = bits === 0 ? 0 : (-1 << (32 - bits)) >>> 0;
    return { address: (address & mask) >>> 0, mask, bits };
  });
  const endpoint = fc.tuple(fc.oneof(fc.ipV4(), fc.ipV6()), fc.nat(65535)).map(([host, port]) =>
    present(parseEndpoint(host.includes(":") ? `[${host}]:${port}` : `${host}:${port}`))
  );
  const options = {
    requiredKeys: ["publicKey", "allowedIps"] as ["publicKey", "allowedIps"],
    noNullPrototype: true,
  };
  const peer = fc.record({
    publicKey: key,
    presharedKey: key,
    allowedIps: fc.array(prefix, { maxLength: 4 }),
    endpoint,
    keepaliveSeconds: fc.integer({ min: 1, max: 65535 }),
  }, options);
  const config: fc.Arbitrary<WireGuardConfig> = fc.record({
    privateKey: key,
    addresses: fc.array(
      fc.record({ address: fc.nat(0xffff_ffff), bits: fc.nat(32) }, { noNullPrototype: true }),
      { maxLength: 3 },
    ),
    listenPort: fc.integer({ min: 1, max: 65535 }),
    dns: fc.array(fc.nat(0xffff_ffff), { minLength: 1, maxLength: 2 }),
    mtu: fc.integer({ min: 576, max: 65535 }),
    peers: fc.array(peer, { maxLength: 4 }),
  }, { requiredKeys: ["privateKey", "addresses", "peers"], noNullPrototype: true });
  fc.assert(fc.property(config, (one) => assert.deepEqual(parseConfig(emitConfig(one)), one)));
});
