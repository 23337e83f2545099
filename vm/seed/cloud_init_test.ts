import assert from "node:assert/strict";
import fc from "fast-check";
import { parse } from "yaml";
import { OmertaError } from "../../lib/core/errors.ts";
import { run } from "../../lib/core/process.ts";
import { generateSshKey } from "../../lib/core/ssh_key.ts";
import { renderSeed, seedIso } from "./cloud_init.ts";
import type { SeedOptions } from "./seed_options.ts";
import { GUEST_PACKAGES } from "../image/build.ts";

const hostKey = generateSshKey("web");
const userKey = generateSshKey("me@laptop").publicLine;
const key = (byte: number): string => new Uint8Array(32).fill(byte).toBase64();

const lent: SeedOptions = {
  vmId: "0123456789abcdef",
  hostname: "web",
  user: "omerta",
  sshAuthorizedKeys: [userKey],
  hostKey,
  network: { kind: "cable", mac: "52:54:00:12:34:56" },
  wireguard: {
    privateKey: key(1),
    address: "10.0.0.2/32",
    peerPublicKey: key(2),
    presharedKey: key(3),
    endpoint: "192.168.100.1:51820",
    keepaliveSeconds: 25,
    mtu: 1420,
  },
  firewall: true,
};

interface UserData {
  hostname: string;
  users: { name: string; sudo?: string; lock_passwd: boolean; ssh_authorized_keys?: string[] }[];
  ssh_keys: Record<string, string>;
  write_files: { path: string; permissions: string; content: string }[];
  runcmd: string[][];
  [key: string]: unknown;
}

function userDataOf(options: SeedOptions): UserData {
  const { userData } = renderSeed(options);
  assert.ok(userData.startsWith("#cloud-config\n"));
  return parse(userData, { version: "1.1" });
}

function fileOf(options: SeedOptions, path: string): string | undefined {
  return userDataOf(options).write_files.find((file) => file.path === path)?.content;
}

Deno.test("V3: testWireGuardClientConfig: wg0.conf is what wg-quick takes", () => {
  assert.equal(
    fileOf(lent, "/etc/wireguard/wg0.conf"),
    `[Interface]
PrivateKey = ${key(1)}
Address = 10.0.0.2/32
MTU = 1420
Table = off
PostUp = ip route replace default dev %i

[Peer]
PublicKey = ${key(2)}
PresharedKey = ${key(3)}
AllowedIPs = 0.0.0.0/0
Endpoint = 192.168.100.1:51820
PersistentKeepalive = 25
`,
  );
  const file = userDataOf(lent).write_files.find((f) => f.path === "/etc/wireguard/wg0.conf");
  assert.equal(file?.permissions, "0600");
});

Deno.test("V3: testIptablesRules: everything is refused but the tunnel and SSH inside it", () => {
  const rules = fileOf(lent, "/etc/nftables.conf") ?? "";
  assert.equal(rules.match(/policy drop;/g)?.length, 3);
  assert.match(rules, /iifname "wg0" accept/);
  assert.match(rules, /oifname "wg0" accept/);
  assert.match(rules, /ip daddr 192\.168\.100\.1 udp dport 51820 accept/);
  assert.ok(!rules.includes("@"), "a placeholder is left");
  const iptables = fileOf(lent, "/etc/omerta/iptables.rules") ?? "";
  assert.equal(iptables.match(/^:[A-Z]+ DROP /gm)?.length, 3);
  assert.match(iptables, /-A OUTPUT -d 192\.168\.100\.1 -p udp --dport 51820 -j ACCEPT/);
});

Deno.test("N8: a second card has the default route, and the tunnel only its own network", () => {
  const direct: SeedOptions = { ...lent, natMac: "52:54:01:12:34:56" };
  const { ethernets } = parse(renderSeed(direct).networkConfig) as {
    ethernets: Record<string, unknown>;
  };
  assert.deepEqual(Object.keys(ethernets), ["cable", "direct"]);
  assert.deepEqual(ethernets["direct"], {
    ...{ match: { macaddress: "52:54:01:12:34:56" }, dhcp4: true, dhcp6: false },
    "accept-ra": false,
  });
  const tunnel = fileOf(direct, "/etc/wireguard/wg0.conf") ?? "";
  assert.match(tunnel, /^PostUp = ip route replace 10\.0\.0\.0\/16 dev %i$/m);
  assert.match(tunnel, /^AllowedIPs = 10\.0\.0\.0\/16$/m);
  const rules = fileOf(direct, "/etc/nftables.conf") ?? "";
  assert.match(rules, /ip daddr \{ 198\.51\.100\.0\/24, 192\.168\.100\.0\/24 \} reject/);
  assert.match(rules, /ip saddr != \{ 192\.168\.100\.0\/24, 10\.0\.0\.0\/16 \} accept/);
  assert.equal(rules.match(/policy drop;/g)?.length, 3);
  const iptables = fileOf(direct, "/etc/omerta/iptables.rules") ?? "";
  assert.match(iptables, /^-A OUTPUT -s 192\.168\.100\.0\/24,10\.0\.0\.0\/16 -j DROP$/m);
  for (const text of [rules, iptables]) assert.ok(!text.includes("@"), "a placeholder is left");
  assert.equal(fileOf(lent, "/etc/omerta/direct"), undefined);
  for (const path of ["/etc/nftables.conf", "/etc/omerta/iptables.rules"]) {
    assert.doesNotMatch(fileOf(lent, path) ?? "", /198\.51|@/);
  }
});

Deno.test("V7: a guest that calls its host has one place to call", () => {
  const path = "/etc/systemd/system/omerta-reverse.service";
  const unit = fileOf({ ...lent, callsHost: true }, path) ?? "";
  assert.match(unit, /\/dev\/tcp\/192\.168\.100\.9\/22;/);
  assert.equal(fileOf(lent, path), undefined);
});

Deno.test("V3: testPackageInstallation: the image has the packages, the seed asks for none", () => {
  for (const name of ["wireguard-tools", "nftables", "openssh-server", "sudo", "cloud-init"]) {
    assert.ok(GUEST_PACKAGES.includes(name), name);
  }
  // A lent guest has no internet: asking for a package would only cost the time until it fails.
  const data = userDataOf(lent);
  for (const key of ["packages", "package_update", "package_upgrade", "apt"]) {
    assert.ok(!(key in data), key);
  }
});

Deno.test("V3: testSSHAuthorizedKeys: every key may log in as omerta, and no password may", () => {
  const keys = [userKey, generateSshKey("second key").publicLine];
  const data = userDataOf({ ...lent, sshAuthorizedKeys: keys });
  assert.deepEqual(data.users[0], {
    name: "omerta",
    gecos: "Omerta",
    shell: "/bin/bash",
    sudo: "ALL=(ALL) NOPASSWD:ALL",
    lock_passwd: true,
    ssh_authorized_keys: keys,
  });
  assert.deepEqual(data.users[1], { name: "root", lock_passwd: true });
  assert.equal(data.ssh_pwauth, false);
  assert.equal(data.disable_root, true);
  assert.match(
    fileOf(lent, "/etc/ssh/sshd_config.d/10-omerta.conf") ?? "",
    /^PasswordAuthentication no$/m,
  );
});

Deno.test("V3: testFullUserData: all parts are there", () => {
  const data = userDataOf(lent);
  assert.equal(data.hostname, "web");
  assert.deepEqual(data.ssh_keys, {
    ed25519_private: hostKey.privatePem,
    ed25519_public: hostKey.publicLine,
  });
  assert.deepEqual(data.write_files.map((file) => file.path).sort(), [
    "/etc/nftables.conf",
    "/etc/omerta/firewall",
    "/etc/omerta/iptables.rules",
    "/etc/omerta/setup.sh",
    "/etc/omerta/wg0.py",
    "/etc/ssh/sshd_config.d/10-omerta.conf",
    "/etc/systemd/system/omerta-firewall.service",
    "/etc/systemd/system/omerta-wg0.service",
    "/etc/wireguard/wg0.conf",
  ]);
  assert.deepEqual(data.runcmd, [["/bin/sh", "/etc/omerta/setup.sh"]]);
});

Deno.test("V3: renderSeed() leaves out the tunnel and the firewall when they are not asked for", () => {
  const { wireguard: _, ...bare } = lent;
  const data = userDataOf({ ...bare, firewall: false, network: { kind: "dhcp" } });
  assert.deepEqual(data.write_files.map((file) => file.path).sort(), [
    "/etc/omerta/setup.sh",
    "/etc/ssh/sshd_config.d/10-omerta.conf",
  ]);
});

Deno.test("V3: meta-data names the instance and the host", () => {
  assert.deepEqual(parse(renderSeed(lent).metaData), {
    "instance-id": "omerta-0123456789abcdef",
    "local-hostname": "web",
  });
});

Deno.test("V3: network-config is static on the cable and has no default route there", () => {
  assert.deepEqual(parse(renderSeed(lent).networkConfig, { version: "1.1" }), {
    version: 2,
    ethernets: {
      cable: {
        match: { macaddress: "52:54:00:12:34:56" },
        addresses: ["192.168.100.2/24"],
        dhcp4: false,
        dhcp6: false,
        "accept-ra": false,
      },
    },
  });
});

Deno.test("V3: network-config asks for an address under QEMU's user network", () => {
  const { networkConfig } = renderSeed({ ...lent, network: { kind: "dhcp" } });
  assert.deepEqual(parse(networkConfig, { version: "1.1" }), {
    version: 2,
    ethernets: { uplink: { match: { macaddress: "52:54:00:12:34:56" }, dhcp4: true } },
  });
  assert.deepEqual(parse(renderSeed({ ...lent, network: { kind: "none" } }).networkConfig), {
    version: 2,
    ethernets: {},
  });
});

Deno.test("V3: no host name and no key breaks out of its place in the YAML", () => {
  const nasty = fc.oneof(
    fc.string({ unit: "binary", maxLength: 80 }),
    fc.constantFrom(
      "no",
      "on",
      "null",
      "12:30",
      "1e3",
      "0x1f",
      "a: b",
      "a\nruncmd: [reboot]",
      "ssh-ed25519 AAAA x\nssh-ed25519 BBBB y",
      'ssh-ed25519 AAAA "quoted" # comment',
      "ssh-ed25519 AAAA a: b, {c} [d] &e *f !g | > %h @i `j`",
      "ssh-ed25519 AAAA \u2028 x",
    ),
  );
  const expected = userDataOf(lent);
  fc.assert(fc.property(nasty, nasty, (hostname, sshKey) => {
    const options = { ...lent, hostname, sshAuthorizedKeys: [sshKey] };
    let data: UserData;
    try {
      data = userDataOf(options);
    } catch (error) {
      assert.ok(error instanceof OmertaError && error.code === "seed-invalid", String(error));
      return;
    }
    const [omerta, root] = expected.users;
    assert.deepEqual(data, {
      ...expected,
      hostname,
      users: [{ ...omerta, ssh_authorized_keys: [sshKey] }, root],
    });
  }));
});

Deno.test("V3: host names and key comments that YAML takes for something else stay text", () => {
  for (const hostname of ["no", "on", "y", "null", "1e3", "0x1f", "123", "1-1"]) {
    assert.equal(userDataOf({ ...lent, hostname }).hostname, hostname);
  }
  const sshKey = 'ssh-ed25519 AAAA a: b, {c} [d] &e *f !g | > %h @i `j` "k" # l';
  assert.deepEqual(
    userDataOf({ ...lent, sshAuthorizedKeys: [sshKey] }).users[0]
      ?.ssh_authorized_keys,
    [sshKey],
  );
});

Deno.test.each<{ what: string; change: Partial<SeedOptions> }>([
  { what: "a VM id that is none", change: { vmId: "../../etc" } },
  { what: "an empty host name", change: { hostname: "" } },
  { what: "a host name that ends in a hyphen", change: { hostname: "web-" } },
  { what: "a key of two lines", change: { sshAuthorizedKeys: [`${userKey}\n${userKey}`] } },
  { what: "too many keys", change: { sshAuthorizedKeys: new Array(65).fill(userKey) } },
  { what: "a host key that is none", change: { hostKey: { ...hostKey, privatePem: "secret" } } },
  { what: "a hardware address that is none", change: { network: { kind: "cable", mac: "x" } } },
])("renderSeed() refuses $what", ({ change }) => {
  assert.throws(() => renderSeed({ ...lent, ...change }), { code: "seed-invalid", exit: 2 });
});

Deno.test.each([
  { what: "a private key with a second line", change: { privateKey: "secret\nPostUp = reboot" } },
  { what: "a public key with a second line", change: { peerPublicKey: `${key(2)}\nPostUp = x` } },
  { what: "a short preshared key", change: { presharedKey: "secret" } },
  { what: "an address with a second line", change: { address: "10.0.0.2/32\nPostUp = reboot" } },
  { what: "a keepalive that is not whole", change: { keepaliveSeconds: 1.5 } },
])("renderSeed() refuses $what, without quoting a secret", ({ change }) => {
  const { wireguard } = lent;
  assert.ok(wireguard);
  const options = { ...lent, wireguard: { ...wireguard, ...change } };
  assert.throws(() => renderSeed(options), (error) => {
    assert.ok(error instanceof OmertaError);
    assert.equal(error.code, "seed-invalid");
    return !error.message.includes("secret");
  });
});

Deno.test("V4: seedIso() gives the same bytes for the same options and time", () => {
  const time = new Date("2026-01-02T03:04:05Z");
  assert.deepEqual(seedIso(lent, time), seedIso(lent, time));
});

const pyyaml = (await run("python3", ["-c", "import yaml"]).catch(() => undefined))?.code === 0;

Deno.test({
  name: `V3: Python reads the same out of the YAML as cloud-init will${
    pyyaml ? "" : " (python3-yaml is not installed)"
  }`,
  ignore: !pyyaml,
  async fn(): Promise<void> {
    const seed = renderSeed({ ...lent, hostname: "no" });
    for (const text of Object.values(seed)) {
      const { stdout } = await run("python3", [
        "-c",
        "import json,sys,yaml; print(json.dumps(yaml.safe_load(sys.stdin)))",
      ], { input: text });
      assert.deepEqual(JSON.parse(stdout), parse(text, { version: "1.1" }));
    }
  },
});
