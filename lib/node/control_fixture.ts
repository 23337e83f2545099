/**
 * Two nodes of the control channel in one process.
 *
 * @module
 */

import assert from "node:assert/strict";
import { directNetwork, type NetworkKey } from "../../net/mesh/envelope.ts";
import { Endpoint } from "../../net/os/endpoint.ts";
import { generateIdentity, Identity } from "../core/identity.ts";
import { Control } from "./control.ts";

/** Their network. */
export const KEY: NetworkKey = directNetwork(new Uint8Array(32).fill(9));

function endpoint(address: string): Endpoint {
  const made = Endpoint.of(address, 51820);
  assert.ok(made);
  return made;
}

/** Where the first one is. */
const A: Endpoint = endpoint("192.168.1.1");
/** Where the second one is. */
export const B: Endpoint = endpoint("192.168.1.2");

/** What {@link twoNodes} makes. */
export interface TwoNodes extends Disposable {
  /** The first one. */
  readonly a: Control;
  /** The second one. */
  readonly b: Control;
  /** Who the first one is. */
  readonly identityA: Identity;
}

/** Two nodes whose datagrams reach each other in a later turn of the event loop. */
export function twoNodes(networksOfB: readonly NetworkKey[] = [KEY]): TwoNodes {
  const identityA = new Identity(generateIdentity(0));
  const a: Control = new Control({
    identity: identityA,
    networks: () => [KEY],
    send: (datagram) => queueMicrotask(() => b.receive(datagram, A)),
    now: Date.now,
  });
  const b: Control = new Control({
    identity: new Identity(generateIdentity(0)),
    networks: () => networksOfB,
    send: (datagram) => queueMicrotask(() => a.receive(datagram, B)),
    now: Date.now,
  });
  return {
    a,
    b,
    identityA,
    [Symbol.dispose]: (): void => {
      a[Symbol.dispose]();
      b[Symbol.dispose]();
    },
  };
}
