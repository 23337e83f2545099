/**
 * Seeds for guests that are started without a manager, and a cable that leads nowhere.
 *
 * @module
 */

import { join } from "node:path";
import { newVmId } from "../../lib/core/ids.ts";
import { generateSshKey } from "../../lib/core/ssh_key.ts";
import { type Seed, SEED_LABEL } from "../../vm/seed/cloud_init.ts";
import { writeIso } from "../../vm/seed/iso9660.ts";
import type { SeedOptions } from "../../vm/seed/seed_options.ts";

/** What a guest writes to its console when cloud-init is through. */
export const DONE = /OMERTA-STAGE cloud-init [0-9.]+/;
const MAC = "52:54:00:12:34:56";

const key = (): string => crypto.getRandomValues(new Uint8Array(32)).toBase64();

/** Options of a seed as a lender writes it. */
export function lent(hostname: string): SeedOptions {
  return {
    vmId: newVmId(),
    hostname,
    user: "omerta",
    sshAuthorizedKeys: [generateSshKey("tester").publicLine],
    hostKey: generateSshKey(hostname),
    network: { kind: "cable", mac: MAC },
    wireguard: {
      privateKey: key(),
      address: "10.0.0.2/32",
      peerPublicKey: key(),
      presharedKey: key(),
      endpoint: "192.168.100.1:51820",
      keepaliveSeconds: 25,
      mtu: 1420,
    },
    firewall: true,
  };
}

/** The disk of a seed that is not quite what we write. */
export function seedOf(seed: Seed): Uint8Array {
  const utf8 = new TextEncoder();
  return writeIso({
    label: SEED_LABEL,
    time: new Date(),
    files: [
      { name: "user-data", content: utf8.encode(seed.userData) },
      { name: "meta-data", content: utf8.encode(seed.metaData) },
      { name: "network-config", content: utf8.encode(seed.networkConfig) },
    ],
  });
}

/** QEMU's words for a card whose cable leads to a unix socket that nobody reads. */
export function deadCable(folder: string): string[] {
  const [local, remote] = [join(folder, "a"), join(folder, "b")];
  return [
    "-netdev",
    `dgram,id=n0,local.type=unix,local.path=${local},remote.type=unix,remote.path=${remote}`,
    "-device",
    `virtio-net-pci,netdev=n0,mac=${MAC}`,
  ];
}
