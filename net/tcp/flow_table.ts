/**
 * Who a segment belongs to: a hash table over both addresses and both ports.
 *
 * The hash is seeded, so that a stranger cannot choose ports that all fall into one bucket. The
 * table has no cap of its own: who adds to it counts.
 *
 * @module
 */

import { hashAddress, type IpAddress } from "./address.ts";

/** What is found: a connection, a record in TIME-WAIT, a SYN that waits for its owner. */
export interface Flow {
  /** Our address. */
  readonly local: IpAddress;
  /** Our port. */
  readonly localPort: number;
  /** Their address. */
  readonly remote: IpAddress;
  /** Their port. */
  readonly remotePort: number;
  /** Hash of the four; the table's. */
  hash: number;
  /** The next one in the same bucket; the table's. */
  next: Flow | undefined;
}

const FIRST_BUCKETS = 64;

/** Flows by their four numbers. */
export class FlowTable<F extends Flow> {
  /** Flows in the table. */
  size = 0;
  readonly #seed: number;
  /** Odd, and as secret as the seed: what differs by a known number is spread in an unknown way. */
  readonly #factor: number;
  #buckets: (Flow | undefined)[] = new Array<Flow | undefined>(FIRST_BUCKETS).fill(undefined);

  /** An empty table; `seed` is a random 32-bit number. */
  constructor(seed: number) {
    this.#seed = seed | 0;
    this.#factor = Math.imul(seed ^ (seed >>> 15), 0x85ebca6b | 0) | 1;
  }

  /** The flow of these four, if there is one. */
  find(
    local: IpAddress,
    localPort: number,
    remote: IpAddress,
    remotePort: number,
  ): F | undefined {
    const hash = this.#hash(local, localPort, remote, remotePort);
    let flow = this.#buckets[hash & (this.#buckets.length - 1)];
    while (flow !== undefined) {
      if (
        flow.hash === hash && flow.remotePort === remotePort && flow.remote === remote &&
        flow.localPort === localPort && flow.local === local
      ) return flow as F;
      flow = flow.next;
    }
    return undefined;
  }

  /** Adds a flow that is not in the table. */
  add(flow: F): void {
    if (this.size >= 2 * this.#buckets.length) this.#grow();
    flow.hash = this.#hash(flow.local, flow.localPort, flow.remote, flow.remotePort);
    this.#link(flow);
    this.size++;
  }

  /** Takes a flow out, if it is in. */
  remove(flow: F): void {
    const at = flow.hash & (this.#buckets.length - 1);
    let before: Flow | undefined;
    for (let one = this.#buckets[at]; one !== undefined; before = one, one = one.next) {
      if (one !== flow) continue;
      if (before === undefined) this.#buckets[at] = one.next;
      else before.next = one.next;
      one.next = undefined;
      this.size--;
      return;
    }
  }

  /** Calls `visit` with every flow; it may remove the one that it is given. */
  forEach(visit: (flow: F) => void): void {
    for (const first of this.#buckets) {
      for (let flow = first; flow !== undefined;) {
        const next = flow.next;
        visit(flow as F);
        flow = next;
      }
    }
  }

  #link(flow: Flow): void {
    const at = flow.hash & (this.#buckets.length - 1);
    flow.next = this.#buckets[at];
    this.#buckets[at] = flow;
  }

  #grow(): void {
    const old = this.#buckets;
    this.#buckets = new Array<Flow | undefined>(2 * old.length).fill(undefined);
    for (const first of old) {
      for (let flow = first; flow !== undefined;) {
        const next = flow.next;
        this.#link(flow);
        flow = next;
      }
    }
  }

  #hash(local: IpAddress, localPort: number, remote: IpAddress, remotePort: number): number {
    let h = Math.imul(((remotePort << 16) | localPort) ^ this.#seed, this.#factor);
    h = Math.imul((h ^ (h >>> 15)) + hashAddress(remote), 0xc2b2ae35 | 0);
    h = Math.imul((h ^ (h >>> 13)) + hashAddress(local), this.#factor);
    return (h ^ (h >>> 16)) | 0;
  }
}
