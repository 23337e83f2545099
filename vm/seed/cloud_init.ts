/**
 * What a guest is told on its first boot: the three files of a NoCloud seed.
 *
 * Read cloud-init's "NoCloud" data source and its "Network config version 2". The seed is a small
 * ISO 9660 disk labelled `cidata` with `user-data`, `meta-data` and `network-config`.
 *
 * A lent guest has no internet, so nothing is installed on the first boot: what is needed is in the
 * image. `cloud-init/setup.sh` runs last and reports on the console, which the lender reads:
 *
 * ```
 * OMERTA-STAGE cloud-init 17.42      seconds since the kernel started
 * OMERTA-FAULT wg0: ...              what could not be set up
 * ```
 *
 * Outside text (host names, keys) is checked first and then only ever written by the YAML library.
 *
 * @module
 */

import { Document, Scalar, visit } from "yaml";
import FIREWALL_UNIT from "../../cloud-init/omerta-firewall.service" with { type: "text" };
import IPTABLES from "../../cloud-init/iptables.rules" with { type: "text" };
import REVERSE_UNIT from "../../cloud-init/omerta-reverse.service" with { type: "text" };
import NFTABLES from "../../cloud-init/nftables.conf" with { type: "text" };
import SETUP from "../../cloud-init/setup.sh" with { type: "text" };
import SSHD from "../../cloud-init/sshd.conf" with { type: "text" };
import WG0 from "../../cloud-init/wg0.py" with { type: "text" };
import WG0_UNIT from "../../cloud-init/omerta-wg0.service" with { type: "text" };
import { NAT_NETWORK, REVERSE_HOST, REVERSE_PORT } from "../qemu_command.ts";
import { checkSeedOptions } from "./_seed_check.ts";
import type { SeedNetwork, SeedOptions, SeedWireGuard } from "./seed_options.ts";
import { writeIso } from "./iso9660.ts";
import { TUNNEL_NETWORK, wgQuickConfig } from "./guest_wireguard.ts";

/** Address of the guest on its cable, and the size of that network. */
export const GUEST_CABLE_ADDRESS = "192.168.100.2/24";
/** The network of the cable. */
const CABLE_NETWORK = "192.168.100.0/24";

/** Where the cable takes the tunnel's packets; nothing else on the cable answers. */
const ENDPOINT: SeedWireGuard["endpoint"] = "192.168.100.1:51820";

/** What QEMU gives to the first card. */
const QEMU_MAC = "52:54:00:12:34:56";

/** Label by which cloud-init finds the seed. */
export const SEED_LABEL = "cidata";

/** The three files of a seed, as text. */
export interface Seed {
  /** `#cloud-config`: user, keys, files, last step. */
  readonly userData: string;
  /** Instance id and host name. */
  readonly metaData: string;
  /** Network config, version 2. */
  readonly networkConfig: string;
}

interface GuestFile {
  readonly path: string;
  readonly permissions: string;
  readonly content: string;
}

/**
 * The seed's files.
 *
 * @throws {OmertaError} `seed-invalid`, naming the value that cannot be used.
 */
export function renderSeed(options: SeedOptions): Seed {
  checkSeedOptions(options);
  const config = {
    hostname: options.hostname,
    manage_etc_hosts: "localhost",
    users: [
      {
        name: options.user,
        gecos: "Omerta",
        shell: "/bin/bash",
        sudo: "ALL=(ALL) NOPASSWD:ALL",
        lock_passwd: true,
        ssh_authorized_keys: [...options.sshAuthorizedKeys],
      },
      { name: "root", lock_passwd: true },
    ],
    disable_root: true,
    ssh_pwauth: false,
    ssh_deletekeys: true,
    ssh_keys: {
      ed25519_private: options.hostKey.privatePem,
      ed25519_public: options.hostKey.publicLine,
    },
    ssh: { emit_keys_to_console: false },
    no_ssh_fingerprints: true,
    write_files: guestFiles(options),
    runcmd: [["/bin/sh", "/etc/omerta/setup.sh"]],
  };
  return {
    userData: `#cloud-config\n${yaml(config)}`,
    metaData: yaml({
      "instance-id": `omerta-${options.vmId}`,
      "local-hostname": options.hostname,
    }),
    networkConfig: yaml({ version: 2, ethernets: ethernets(options) }),
  };
}

/** The seed as a disk. The same options and time always give the same bytes. */
export function seedIso(options: SeedOptions, time: Date): Uint8Array {
  const seed = renderSeed(options);
  const utf8 = new TextEncoder();
  return writeIso({
    label: SEED_LABEL,
    time,
    files: [
      { name: "user-data", content: utf8.encode(seed.userData) },
      { name: "meta-data", content: utf8.encode(seed.metaData) },
      { name: "network-config", content: utf8.encode(seed.networkConfig) },
    ],
  });
}

function guestFiles(options: SeedOptions): GuestFile[] {
  const file = (path: string, permissions: string, content: string): GuestFile => {
    return { path, permissions, content };
  };
  const units = "/etc/systemd/system";
  const files = [
    file("/etc/ssh/sshd_config.d/10-omerta.conf", "0644", SSHD),
    file("/etc/omerta/setup.sh", "0755", SETUP),
  ];
  if (options.firewall) {
    const nat = options.natMac !== undefined;
    files.push(
      file("/etc/omerta/firewall", "0644", "on\n"),
      file("/etc/nftables.conf", "0755", filledIn(NFTABLES, nat)),
      file("/etc/omerta/iptables.rules", "0644", filledIn(IPTABLES, nat)),
      file(`${units}/omerta-firewall.service`, "0644", FIREWALL_UNIT),
    );
  }
  if (options.wireguard) {
    files.push(
      file(
        "/etc/wireguard/wg0.conf",
        "0600",
        wgQuickConfig(options.wireguard, options.natMac === undefined),
      ),
      file("/etc/omerta/wg0.py", "0755", WG0),
      file(`${units}/omerta-wg0.service`, "0644", WG0_UNIT),
    );
  }
  if (options.natMac !== undefined) {
    files.push(file("/etc/omerta/direct", "0644", `${options.natMac}\n`));
  }
  if (options.callsHost === true) {
    const unit = REVERSE_UNIT.replace("@HOST@", REVERSE_HOST).replace("@PORT@", `${REVERSE_PORT}`);
    files.push(file(`${units}/omerta-reverse.service`, "0644", unit));
  }
  return files;
}

/** The rules of a firewall; its lines about a second card are for guests that have one. */
function filledIn(rules: string, nat: boolean): string {
  const [address = "", port = ""] = ENDPOINT.split(":");
  return (nat ? rules.replaceAll("@DIRECT@", "") : rules.replaceAll(/^.*@DIRECT@.*\n/gm, ""))
    .replaceAll("@ADDRESS@", address).replaceAll("@PORT@", port)
    .replaceAll("@NAT@", NAT_NETWORK).replaceAll("@TUNNEL@", TUNNEL_NETWORK)
    .replaceAll("@CABLE@", CABLE_NETWORK);
}

function ethernets({ network, natMac }: SeedOptions): Record<string, unknown> {
  return {
    ...firstCard(network),
    ...(natMac === undefined ? {} : {
      direct: {
        match: { macaddress: natMac },
        dhcp4: true,
        dhcp6: false,
        "accept-ra": false,
      },
    }),
  };
}

function firstCard(network: SeedNetwork): Record<string, unknown> {
  switch (network.kind) {
    case "cable":
      return {
        cable: {
          match: { macaddress: network.mac },
          addresses: [GUEST_CABLE_ADDRESS],
          dhcp4: false,
          dhcp6: false,
          "accept-ra": false,
        },
      };
    case "dhcp":
      // By hardware address: cloud-init's renderer for systemd-networkd knows no patterns of names.
      return { uplink: { match: { macaddress: network.mac ?? QEMU_MAC }, dhcp4: true } };
    case "none":
      return {};
  }
}

/**
 * YAML that means the same to every reader. cloud-init's reads YAML 1.1, where the plain words `no`
 * and `52:54:00:12:34:56` are a boolean and a number, so every string is quoted or a literal block.
 */
function yaml(value: unknown): string {
  const document = new Document(value, { aliasDuplicateObjects: false });
  visit(document, {
    Scalar: (key, node): void => {
      if (key === "key" || typeof node.value !== "string") return;
      node.type = node.value.includes("\n") ? Scalar.BLOCK_LITERAL : Scalar.QUOTE_DOUBLE;
    },
  });
  // No folding: a long key stays on its line, which is easier to read when something is wrong.
  return document.toString({ lineWidth: 0 });
}
