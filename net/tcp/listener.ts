/**
 * Waiting for connections: a SYN is answered only after the owner has said what to do with it, so
 * that a proxy can dial first.
 *
 * @module
 */

import type { Segment } from "./_segment.ts";
import { FLOW } from "./_tcb.ts";
import { fromIpAddress, type IpAddress, toIpAddress } from "./address.ts";
import type { TcpConnection, TcpHandler, TcpOptions } from "./connection.ts";
import type { Flow } from "./flow_table.ts";
import type { Timed } from "./timers.ts";

/** What to wait for. */
export interface ListenOptions {
  /** Our address, unsigned 32 bits; undefined: any that the stack takes packets for. */
  readonly address?: number;
  /** Our port; undefined: any. */
  readonly port?: number;
  /** Called at the end of a batch with each new SYN. */
  onSyn(pending: PendingSyn): void;
}

/** How a SYN is refused: by a reset, or by ICMP "host unreachable". */
export type Refusal = "reset" | "unreachable";

/** Who makes a connection of a SYN, or refuses it. */
export interface Acceptor {
  /** See {@link PendingSyn.accept}. */
  accept(pending: PendingSyn, handler: TcpHandler, options: TcpOptions): TcpConnection | undefined;
  /** See {@link PendingSyn.refuse}. */
  refuse(pending: PendingSyn, how: Refusal): void;
}

/** A SYN that waits for its owner's answer. */
export class PendingSyn implements Flow, Timed {
  /** What kind of flow it is. */
  readonly kind = FLOW.pending;
  /** Our address, as the stack keeps it. */
  readonly local: IpAddress;
  /** Our port. */
  readonly localPort: number;
  /** Their address, as the stack keeps it. */
  readonly remote: IpAddress;
  /** Their port. */
  readonly remotePort: number;
  /** See {@link Flow}. */
  hash = 0;
  /** See {@link Flow}. */
  next: Flow | undefined;
  /** See {@link Timed}. */
  armedAt: number = Infinity;
  /** See {@link Timed}. */
  heapIndex = -1;
  /** When it is forgotten, in ms: a minute after the SYN came last. */
  endsAt = 0;
  /** Whether there is nothing to answer any more: answered, withdrawn, or forgotten. */
  gone = false;
  /** Their initial sequence number. */
  readonly sequence: number;
  /** Their window. */
  readonly window: number;
  /** Their MSS, in bytes; 0: not said. */
  readonly mss: number;
  /** Their window scale; -1: none. */
  readonly windowScale: number;
  /** Whether they take SACK. */
  readonly sackPermitted: boolean;
  /** Whether they take timestamps. */
  readonly timestamps: boolean;
  /** Their timestamp, of the SYN that came last. */
  timestamp: number;
  readonly #acceptor: Acceptor;

  /** Keeps what the SYN says. */
  constructor(s: Segment, acceptor: Acceptor) {
    this.local = s.destination;
    this.localPort = s.destinationPort;
    this.remote = s.source;
    this.remotePort = s.sourcePort;
    this.sequence = s.sequence;
    this.window = s.window;
    this.mss = s.options.mss;
    this.windowScale = s.options.windowScale;
    this.sackPermitted = s.options.sackPermitted;
    this.timestamps = s.options.timestamps;
    this.timestamp = s.options.timestamps ? s.options.value : 0;
    this.#acceptor = acceptor;
  }

  /** The address that they want to reach, unsigned 32 bits. */
  get localAddress(): number {
    return fromIpAddress(this.local);
  }

  /** Where they come from, unsigned 32 bits. */
  get remoteAddress(): number {
    return fromIpAddress(this.remote);
  }

  /** Answers the SYN; undefined when it is {@link gone}. */
  accept(handler: TcpHandler, options: TcpOptions = {}): TcpConnection | undefined {
    return this.gone ? undefined : this.#acceptor.accept(this, handler, options);
  }

  /** Refuses it. */
  refuse(how: Refusal): void {
    if (!this.gone) this.#acceptor.refuse(this, how);
  }
}

/** Something that waits for connections; {@link close} ends it. */
export class TcpListener {
  /** What it waits for. */
  readonly options: ListenOptions;
  readonly #forget: (listener: TcpListener) => void;

  /** Made by a {@link ListenerTable}. */
  constructor(options: ListenOptions, forget: (listener: TcpListener) => void) {
    this.options = options;
    this.#forget = forget;
  }

  /** Stops waiting; SYNs that wait for an answer, and connections, stay. */
  close(): void {
    this.#forget(this);
  }
}

/** Who waits for what; whoever is more exact comes first. */
export class ListenerTable {
  readonly #byPort = new Map<number, TcpListener[]>();

  /** Adds a listener; undefined when there is one for the same address and port. */
  add(options: ListenOptions): TcpListener | undefined {
    const port = options.port ?? 0;
    const list = this.#byPort.get(port) ?? [];
    if (list.some((one) => one.options.address === options.address)) return undefined;
    const listener = new TcpListener(options, (gone) => {
      const rest = (this.#byPort.get(port) ?? []).filter((one) => one !== gone);
      if (rest.length === 0) this.#byPort.delete(port);
      else this.#byPort.set(port, rest);
    });
    if (options.address === undefined) list.push(listener);
    else list.unshift(listener);
    this.#byPort.set(port, list);
    return listener;
  }

  /** Forgets all of them. */
  clear(): void {
    this.#byPort.clear();
  }

  /** Who waits for connections to this address and port. */
  find(address: IpAddress, port: number): TcpListener | undefined {
    return this.#at(port, address) ?? this.#at(0, address);
  }

  #at(port: number, address: IpAddress): TcpListener | undefined {
    const list = this.#byPort.get(port);
    if (list === undefined) return undefined;
    for (const one of list) {
      const wanted = one.options.address;
      if (wanted === undefined || toIpAddress(wanted) === address) return one;
    }
    return undefined;
  }
}
