/**
 * The VM for a lease: its size, its cable, and what it is told at its first boot.
 *
 * @module
 */

import type { BaseImage } from "../../vm/image/image.ts";
import type { VmSpec } from "../../vm/manager.ts";
import { presharedKeyOf } from "../../net/mesh/network_key.ts";
import { formatKey } from "../../net/wireguard/keys.ts";
import type { VmId } from "../core/ids.ts";
import { tapName } from "./kernel_guests.ts";
import type { Lease } from "./lease.ts";

/** The guest's keepalive, in s: keeps every NAT on the way open. */
const KEEPALIVE_S = 15;
/** What the guest calls its peer; the filter maps it to the borrower. */
const GUEST_ENDPOINT = "192.168.100.1:51820";
/** MTU of the guest's tunnel, in bytes: 1500 of the cable less the headers of WireGuard. */
const GUEST_MTU = 1420;

/** Keys of a guest and of its borrower. */
export interface GuestKeys {
  /** The guest's WireGuard private key. Secret. */
  readonly privateKey: Uint8Array;
  /** The guest's WireGuard public key. */
  readonly publicKey: Uint8Array;
  /** The guest's SSH host key, OpenSSH format. Secret. */
  readonly hostKeyPem: string;
  /** The borrower's WireGuard public key. */
  readonly borrowerKey: Uint8Array;
}

/** The VM for `lease`. */
export function vmForLease(lease: Lease, image: BaseImage, keys: GuestKeys): VmSpec {
  const { id, request, accepted } = lease;
  const mac = guestMac(id);
  return {
    id,
    name: request.name,
    cpus: request.cpus,
    memoryMiB: request.memoryMiB,
    diskGiB: request.diskGiB,
    image,
    network: networkOf(lease, mac),
    seed: {
      vmId: id,
      hostname: request.name,
      user: "omerta",
      sshAuthorizedKeys: [request.sshKey],
      hostKey: { privatePem: keys.hostKeyPem, publicLine: accepted.hostKey },
      network: { kind: "cable", mac },
      wireguard: {
        privateKey: formatKey(keys.privateKey),
        address: `${accepted.address}/32`,
        peerPublicKey: formatKey(keys.borrowerKey),
        presharedKey: formatKey(
          presharedKeyOf(lease.network.key, keys.publicKey, keys.borrowerKey),
        ),
        endpoint: GUEST_ENDPOINT,
        keepaliveSeconds: KEEPALIVE_S,
        mtu: GUEST_MTU,
      },
      firewall: true,
      ...secondCard(lease),
    },
  };
}

/** How the hypervisor connects it. The guest is told the same in every mode. */
function networkOf({ id, request }: Lease, mac: string): VmSpec["network"] {
  return request.mode === "ebpf"
    ? { kind: "tap", mac, ifname: tapName(id) }
    : { kind: "cable", mac, ...secondCard({ id, request }) };
}

/** In mode `direct` a VM has another card, behind the lender's own connection. */
function secondCard({ id, request }: Pick<Lease, "id" | "request">): { readonly natMac?: string } {
  return request.mode === "direct" ? { natMac: natMacOf(id) } : {};
}

/** A locally administered address from the VM's id; nobody else is on its cable. */
export function guestMac(id: VmId): string {
  return `52:54:00:${id.slice(0, 2)}:${id.slice(2, 4)}:${id.slice(4, 6)}`;
}

/** The address of its second card, in mode direct; another than that of any cable. */
function natMacOf(id: VmId): string {
  return guestMac(id).replace("52:54:00:", "52:54:01:");
}
