/**
 * The tunnels of a node as its user may want to see them: those to VMs that it has borrowed, which it
 * opens itself, and those of VMs that it lends, which it carries and cannot look into.
 *
 * @module
 */

import type { PlaneGuestStats, PlaneStats } from "../../net/plane/plane.ts";
import { clientId, serverId } from "./carried_tunnels.ts";
import type { BorrowedVm } from "./lease_store.ts";
import type { Lending } from "./node.ts";
import { BORROWER_ADDRESS } from "./tunnel_addresses.ts";

/** A session is over after this (ms); WireGuard's REJECT_AFTER_TIME. */
const SESSION_MS = 180_000;

/**
 * How a tunnel is. `carried`: only its two ends know; `none`: it could not be made, or is not yet;
 * `dry-run`: there will be none.
 */
export type TunnelState = "up" | "no-handshake" | "stale" | "carried" | "none" | "dry-run";

/** One tunnel. */
export interface Tunnel {
  /** Whether the VM is borrowed or lent. */
  readonly role: "borrowed" | "lent";
  /** Id of the VM. */
  readonly id: string;
  /** Name of the VM. */
  readonly name: string;
  /** The other side: the lender as it was named in the request, or the borrower's peer id. */
  readonly with: string;
  /** Address of this end in the tunnel; undefined when it does not end here. */
  readonly localAddress: string | undefined;
  /** Address of the VM in the tunnel. */
  readonly address: string;
  /** `address:port` that its packets come from and go to. */
  readonly endpoint: string | undefined;
  /** Bytes from the VM. */
  readonly fromVm: number;
  /** Bytes to the VM. */
  readonly toVm: number;
  /** Last handshake: ms since 1970; undefined when there was none or this end does not know. */
  readonly lastHandshakeMs: number | undefined;
  /** Interval of this end's keepalives (s); undefined when the tunnel does not end here. */
  readonly keepaliveSeconds: number | undefined;
  /** How it is. */
  readonly state: TunnelState;
  /** A WireGuard of this computer that has a tunnel of its own to the VM. */
  readonly client: CarriedClient | undefined;
  /** A WireGuard server of the borrower's that the VM has a tunnel to. */
  readonly server: CarriedServer | undefined;
}

/** A WireGuard of this computer that has a tunnel of its own to a VM. */
export interface CarriedClient {
  /** Its address in the tunnel. */
  readonly address: string;
  /** Its UDP port on this computer. */
  readonly port: number;
  /** Bytes from the VM. */
  readonly fromVm: number;
  /** Bytes to the VM. */
  readonly toVm: number;
}

/** A WireGuard server of the borrower's that a VM has a tunnel to. */
export interface CarriedServer {
  /** Where it is, `address:port`. */
  readonly endpoint: string;
  /** Bytes from the VM. */
  readonly fromVm: number;
  /** Bytes to the VM. */
  readonly toVm: number;
}

/** What {@link tunnelsOf} reads of a node's status. */
export interface TunnelSources {
  /** VMs borrowed. */
  readonly borrowed: readonly BorrowedVm[];
  /** What is lent; undefined when this node does not lend. */
  readonly lending: Pick<Lending, "vms"> | undefined;
  /** Counters of the data plane. */
  readonly plane: Pick<PlaneStats, "peers" | "relays"> & {
    /** Those of the guests. */
    readonly guests: readonly Pick<
      PlaneGuestStats,
      "id" | "uplink" | "bytesToUplink" | "bytesToGuest"
    >[];
  };
}

/** The tunnels of a node, the borrowed ones first. `now` is in ms since 1970. */
export function tunnelsOf(
  { borrowed, lending, plane }: TunnelSources,
  now: number,
): Tunnel[] {
  const own = borrowed.map((vm): Tunnel => {
    const peer = plane.peers.find(({ publicKey }) => publicKey === vm.wireguardKey);
    const relay = plane.relays.find(({ id }) => id === clientId(vm.id));
    const server = plane.relays.find(({ id }) => id === serverId(vm.id));
    return {
      role: "borrowed",
      id: vm.id,
      name: vm.name,
      with: vm.host,
      localAddress: BORROWER_ADDRESS,
      address: vm.address,
      endpoint: peer?.endpoint,
      fromVm: peer?.rxBytes ?? 0,
      toVm: peer?.txBytes ?? 0,
      lastHandshakeMs: peer?.lastHandshakeMs,
      keepaliveSeconds: peer?.keepaliveSeconds,
      state: vm.dryRun ? "dry-run" : stateOf(peer, now),
      client: vm.client && {
        address: vm.client.address,
        port: vm.client.port,
        fromVm: relay?.bytesToClient ?? 0,
        toVm: relay?.bytesToUplink ?? 0,
      },
      server: server && {
        endpoint: server.uplink,
        fromVm: server.bytesToUplink,
        toVm: server.bytesToClient,
      },
    };
  });
  const lent = (lending?.vms ?? []).map((vm): Tunnel => {
    const guest = plane.guests.find(({ id }) => id === vm.id);
    return {
      role: "lent",
      id: vm.id,
      name: vm.name,
      with: vm.borrower,
      localAddress: undefined,
      address: vm.address,
      endpoint: guest?.uplink,
      fromVm: guest?.bytesToUplink ?? 0,
      toVm: guest?.bytesToGuest ?? 0,
      lastHandshakeMs: undefined,
      keepaliveSeconds: undefined,
      state: vm.dryRun ? "dry-run" : guest ? "carried" : "none",
      client: undefined,
      server: undefined,
    };
  });
  return [...own, ...lent];
}

function stateOf(
  peer: { readonly lastHandshakeMs: number | undefined } | undefined,
  now: number,
): TunnelState {
  if (!peer) return "none";
  if (peer.lastHandshakeMs === undefined) return "no-handshake";
  return now - peer.lastHandshakeMs > SESSION_MS ? "stale" : "up";
}
