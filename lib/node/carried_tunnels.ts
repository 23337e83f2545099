/**
 * Tunnels that this node carries for a borrowed VM besides its own, without opening them:
 *
 * - the client: a WireGuard of this computer, such as its kernel's, whose peer is the VM. It has keys
 *   and an address of its own, so that it and the node's tunnel work side by side.
 * - the server: a WireGuard server of the borrower's, which the VM uses as its way out. The VM sends
 *   into its own tunnel only; from here on it is this computer that reaches the server.
 *
 * Each VM has at most one of both. The lender sees, and its filter allows, this node and nobody else.
 *
 * @module
 */

import type { Endpoint } from "../../net/os/endpoint.ts";
import type { Plane, PlaneRelay } from "../../net/plane/plane.ts";
import { parseKey } from "../../net/wireguard/keys.ts";
import { EXIT, OmertaError } from "../core/errors.ts";
import { type BorrowedVm, endpointOf, type LeaseStore } from "./lease_store.ts";
import { toEndpoint } from "./lender_address.ts";
import { CLIENT_HOSTS, clientAddress } from "./tunnel_addresses.ts";

/** Where this computer's own programs find the node. */
const HERE = "127.0.0.1";

/** A client of a VM. */
export type TunnelClient = NonNullable<BorrowedVm["client"]>;

/** A server that a VM is to reach. */
export interface TunnelServer {
  /** WireGuard public key that the VM shows to the server, base64. */
  readonly publicKey: string;
  /** UDP port of the VM's WireGuard that talks to it. */
  readonly port: number;
  /** The server, `address:port`. */
  readonly endpoint: Endpoint;
}

/** What a node carries for the VMs that it has borrowed. */
export class CarriedTunnels {
  readonly #plane: Pick<Plane, "addRelay" | "removeRelay">;
  readonly #leases: Pick<LeaseStore, "find" | "get" | "list" | "put">;

  /** Nothing is carried yet. */
  constructor(
    plane: Pick<Plane, "addRelay" | "removeRelay">,
    leases: Pick<LeaseStore, "find" | "get" | "list" | "put">,
  ) {
    this.#plane = plane;
    this.#leases = leases;
  }

  /**
   * Carries the tunnel of a WireGuard on this computer to a VM, in place of a former one's.
   *
   * @returns The VM, with its client.
   * @throws {OmertaError} `unknown-vm`, `dry-run`, `not-ready`, `too-many-clients`.
   */
  async setClient(
    nameOrId: string,
    { publicKey, port }: Pick<TunnelClient, "publicKey" | "port">,
  ): Promise<BorrowedVm & { readonly client: TunnelClient }> {
    const vm = this.#ready(nameOrId);
    const address = addressForClient(vm, this.#leases.list());
    const after = { ...vm, client: { publicKey, port, address } };
    await this.#leases.put(after);
    await this.#carry(after, relayOfClient(after, after.client));
    return after;
  }

  /**
   * Ends the tunnel of the WireGuard on this computer to a VM.
   *
   * @returns Whether there was one.
   * @throws {OmertaError} `unknown-vm`.
   */
  async removeClient(nameOrId: string): Promise<boolean> {
    const { client, ...vm } = this.#leases.find(nameOrId);
    if (!client) return false;
    await this.#leases.put(vm);
    await this.#plane.removeRelay(clientId(vm.id));
    return true;
  }

  /**
   * Carries the tunnel of a VM to a server of the borrower's, until the VM is given back or this node
   * ends.
   *
   * @throws {OmertaError} `unknown-vm`, `dry-run`, `not-ready`.
   */
  async setServer(nameOrId: string, server: TunnelServer): Promise<void> {
    const vm = this.#ready(nameOrId);
    await this.#carry(vm, relayOfServer(vm, server));
  }

  /** Carries on what a former run of this node has carried for a VM. */
  async resume(vm: BorrowedVm): Promise<void> {
    if (vm.client) await this.#plane.addRelay(relayOfClient(vm, vm.client));
  }

  /** Stops everything for a VM that is not borrowed any more. */
  async gone({ id }: BorrowedVm): Promise<void> {
    await this.#plane.removeRelay(clientId(id));
    await this.#plane.removeRelay(serverId(id));
  }

  async #carry(vm: BorrowedVm, relay: PlaneRelay): Promise<void> {
    await this.#plane.addRelay(relay);
    if (this.#leases.get(vm.id)) return;
    await this.#plane.removeRelay(relay.id); // it was given back meanwhile
    this.#leases.find(vm.id);
  }

  /** Only a VM that runs has a tunnel. */
  #ready(nameOrId: string): BorrowedVm {
    const vm = this.#leases.find(nameOrId);
    if (vm.dryRun) {
      throw new OmertaError("dry-run", `Cannot use VM "${vm.name}": it is a dry run`, {
        exit: EXIT.usage,
      });
    }
    if (vm.readyAt !== undefined) return vm;
    throw new OmertaError(
      "not-ready",
      `Cannot use the tunnel of VM "${vm.name}": it still starts`,
      {
        exit: EXIT.unreachable,
        next: "Try again when 'omerta vm list' shows it as ready",
      },
    );
  }
}

/** What the data plane calls the tunnel of a VM's client. */
export function clientId(vmId: string): string {
  return `${vmId}/client`;
}

/** What the data plane calls the tunnel of a VM to a server. */
export function serverId(vmId: string): string {
  return `${vmId}/server`;
}

function relayOfClient(vm: BorrowedVm, { publicKey, port }: TunnelClient): PlaneRelay {
  return {
    id: clientId(vm.id),
    client: toEndpoint(HERE, port),
    publicKey: keyOf(publicKey),
    uplink: endpointOf(vm),
  };
}

function relayOfServer(vm: BorrowedVm, { publicKey, port, endpoint }: TunnelServer): PlaneRelay {
  return {
    id: serverId(vm.id),
    client: toEndpoint(vm.address, port),
    publicKey: keyOf(publicKey),
    uplink: endpoint,
  };
}

/**
 * The lowest address that no client has yet, but for that of `vm` itself, which keeps its own.
 *
 * @throws {OmertaError} `too-many-clients`.
 */
export function addressForClient(vm: BorrowedVm, vms: readonly BorrowedVm[]): string {
  if (vm.client) return vm.client.address;
  const taken = new Set(vms.map(({ client }) => client?.address));
  for (let i = 0; i < CLIENT_HOSTS; i++) {
    const address = clientAddress(i);
    if (!taken.has(address)) return address;
  }
  throw new OmertaError(
    "too-many-clients",
    `Cannot make a configuration for VM "${vm.name}": ${CLIENT_HOSTS} VMs have one`,
    { next: "Take one back with 'omerta vpn config NAME --remove'" },
  );
}

function keyOf(text: string): Uint8Array {
  const key = parseKey(text);
  if (key) return key;
  throw new TypeError("Cannot use a key that no schema has let in");
}
