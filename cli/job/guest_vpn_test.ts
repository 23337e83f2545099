import assert from "node:assert/strict";
import { run } from "../../lib/core/process.ts";
import { parseConfig } from "../../net/wireguard/config_text.ts";
import { formatKey, publicKeyOf } from "../../net/wireguard/keys.ts";
import type { VmView } from "../../lib/api/schemas.ts";
import { bringUpVpn, readVpnConfig, vpnConfigOf, vpnScript } from "./guest_vpn.ts";

const KEY = `${"A".repeat(42)}E=`;
const PEER_KEY = `${"A".repeat(42)}I=`;
const INTERFACE = ["[Interface]", `PrivateKey = ${KEY}`, "Address = 10.99.0.2/24"];
const PEER = ["[Peer]", `PublicKey = ${PEER_KEY}`];
const ENDPOINT = "Endpoint = 203.0.113.5:51820";
const ALL = "AllowedIPs = 0.0.0.0/0";

const text = (...lines: string[]): string => `${lines.join("\n")}\n`;
const GOOD = text(...INTERFACE, "DNS = 10.99.0.1", "MTU = 1420", ...PEER, ENDPOINT, ALL);

const VM: VmView = {
  ...{ id: "0123456789abcdef", name: "web", host: "192.168.1.100", address: "10.0.0.2" },
  ...{ since: 1, readyAt: 2, mode: "filtered", dryRun: false },
};

/** The configuration that a script writes. */
function writtenBy(script: string): ReturnType<typeof parseConfig> {
  return parseConfig(/<<'END'\n([^]*?)END\n/.exec(script)?.[1] ?? "");
}

Deno.test("U7: vpnScript() has the VM's WireGuard talk to this node, whatever the file's endpoint", () => {
  const script = vpnScript(vpnConfigOf("vpn.conf", GOOD), "10.0.0.1:51820");
  const { peers: [peer], ...own } = writtenBy(script);
  assert.equal(String(peer?.endpoint), "10.0.0.1:51820");
  assert.equal(peer?.keepaliveSeconds, 25);
  assert.deepEqual([own.listenPort, own.mtu, own.dns], [21_820, 1340, undefined]);
  assert.ok(!script.includes("203.0.113.5"));
  assert.match(script, /nameserver 10\.99\.0\.1\n/);
});

Deno.test("U7: vpnScript() keeps what the file says where it can", () => {
  const file = text(...INTERFACE, "MTU = 1280", ...PEER, ENDPOINT, ALL, "PersistentKeepalive = 5");
  const script = vpnScript(vpnConfigOf("vpn.conf", file), "10.0.0.1:4000");
  const { peers: [peer], mtu } = writtenBy(script);
  assert.deepEqual([peer?.keepaliveSeconds, mtu], [5, 1280]);
  assert.ok(!script.includes("resolv.conf"));
});

Deno.test("U7: vpnScript() is one that sh reads, and says what an image lacks", async () => {
  const script = vpnScript(vpnConfigOf("vpn.conf", GOOD), "10.0.0.1:51820");
  assert.equal((await run("sh", ["-n"], { input: script })).code, 0);
  // Without programs it ends at its first step, and has changed nothing.
  const lacking = await run("/bin/sh", ["-s"], { input: script, env: { PATH: "/nowhere" } });
  assert.deepEqual([lacking.code, lacking.stderr], [3, "the image has no wg\n"]);
});

Deno.test.each([
  { handshake: "0", code: 4, words: "the server has not answered\n" },
  { handshake: "1790000000", code: 0, words: "" },
])("U7: vpnScript() ends with $code when the last handshake was at $handshake", async (t) => {
  const script = vpnScript(vpnConfigOf("vpn.conf", GOOD), "10.0.0.1:51820");
  const fakes = `wg() { printf 'KEY\\t%s\\n' ${t.handshake}; }; sleep() { :; };`;
  const waiting = script.slice(script.indexOf("tries=0"));
  assert.ok(waiting.startsWith("tries=0\nuntil "));
  const { code, stderr } = await run("sh", ["-s"], { input: `set -eu\n${fakes}\n${waiting}` });
  assert.deepEqual([code, stderr], [t.code, t.words]);
});

Deno.test.each([
  { code: 1, stderr: "one\ntwo\n", error: { code: "vpn-failed", exit: 1, message: /: one; two$/ } },
  { code: 3, stderr: "the image has no wg\n", error: { code: "vpn-missing", exit: 3 } },
  { code: 4, stderr: "", error: { code: "vpn-silent", exit: 4, message: /203\.0\.113\.5:51820/ } },
  { code: 2, stderr: "", error: { code: "vpn-failed", exit: 1, message: /exit code 2$/ } },
])("U7: bringUpVpn() fails when the script in the VM ends with $code", async (t) => {
  const [commands, inputs]: [string[], string[]] = [[], []];
  const asked: unknown[] = [];
  const guest = {
    vm: VM,
    try: (command: string, input: string) => {
      commands.push(command);
      inputs.push(input);
      return Promise.resolve({ code: t.code, stdout: "", stderr: t.stderr });
    },
  };
  const daemon = {
    setServer: (...what: unknown[]) => {
      asked.push(what);
      return Promise.resolve({ endpoint: "10.0.0.1:4000" });
    },
  };
  await assert.rejects(bringUpVpn(guest, vpnConfigOf("vpn.conf", GOOD), daemon), t.error);
  const publicKey = formatKey(publicKeyOf(Uint8Array.fromBase64(KEY)));
  const server = { publicKey, port: 21_820, address: "203.0.113.5", serverPort: 51_820 };
  assert.deepEqual(asked, [[VM.id, server]]);
  assert.deepEqual(commands, ["sudo sh -s"], "no key on a command line");
  assert.match(inputs[0] ?? "", /Endpoint = 10\.0\.0\.1:4000/);
});

Deno.test.each<[string, string, RegExp]>([
  ["no server", text(...INTERFACE), /0 \[Peer\] sections, want one/],
  ["two servers", text(...INTERFACE, ...PEER, ENDPOINT, ALL, ...PEER), /2 \[Peer\] sections/],
  ["no endpoint", text(...INTERFACE, ...PEER, ALL), /the \[Peer\] has no Endpoint/],
  ["no routes", text(...INTERFACE, ...PEER, ENDPOINT), /the \[Peer\] has no AllowedIPs/],
  ["no address", text(...INTERFACE.slice(0, 2), ...PEER, ENDPOINT, ALL), /has no Address/],
  [
    "a command",
    text(...INTERFACE, "PostUp = true"),
    /line 4: PostUp is not a word of \[Interface\]/,
  ],
  ["an unknown word", text(...INTERFACE, ...PEER, "Colour = x"), /line 6: Colour is not a word/],
  ["a name", text(...INTERFACE, ...PEER, "Endpoint = a.example:1"), /line 6: Endpoint is "a\.ex/],
  [
    "IPv6 inside",
    text(...INTERFACE, ...PEER, "AllowedIPs = ::/0"),
    /line 6: AllowedIPs has "::\/0"/,
  ],
  ["multicast", text(...INTERFACE, ...PEER, "Endpoint = 224.0.0.1:1", ALL), /is not one host's/],
  ["nobody", text(...INTERFACE, ...PEER, "Endpoint = 0.0.0.0:1", ALL), /is not one host's/],
  ["port 0", text(...INTERFACE, ...PEER, "Endpoint = 192.0.2.1:0", ALL), /has no Endpoint/],
  [
    "the tunnel's own network",
    text(...INTERFACE, ...PEER, ENDPOINT, "AllowedIPs = 10.0.0.1/32"),
    /10\.0\.0\.1\/32 lies in 10\.0\.0\.0\/16, which the VM needs for its own tunnel/,
  ],
  [
    "an address of the tunnel",
    text("[Interface]", `PrivateKey = ${KEY}`, "Address = 10.0.9.9/8", ...PEER, ENDPOINT, ALL),
    /10\.0\.9\.9\/32 lies in 10\.0\.0\.0\/16/,
  ],
  [
    "the cable's network",
    text(...INTERFACE, ...PEER, ENDPOINT, "AllowedIPs = 192.168.100.0/25"),
    /lies in 192\.168\.100\.0\/24/,
  ],
])("U7: vpnConfigOf() refuses %s", (_, file, message) => {
  assert.throws(() => vpnConfigOf("vpn.conf", file), {
    ...{ code: "bad-vpn-config", exit: 2, message },
  });
});

Deno.test("U7: vpnConfigOf() takes wider routes than the VM's own, and quotes no key", () => {
  const wide = text(...INTERFACE, ...PEER, ENDPOINT, "AllowedIPs = 10.0.0.0/8, 192.168.0.0/16");
  assert.equal(vpnConfigOf("vpn.conf", wide).server.allowedIps.length, 2);
  const secret = KEY.replace("E=", "F=");
  assert.throws(
    () => vpnConfigOf("vpn.conf", GOOD.replace(KEY, secret)),
    (error: Error) =>
      /line 2: PrivateKey has 44/.test(error.message) && !error.message.includes(secret),
  );
});

Deno.test("U7: readVpnConfig() says which file it cannot read", async () => {
  await assert.rejects(readVpnConfig("/nowhere/vpn.conf"), {
    ...{
      code: "bad-vpn-config",
      exit: 2,
      message: /--vpn-config '\/nowhere\/vpn\.conf': cannot read/,
    },
  });
});
