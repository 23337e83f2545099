/**
 * The data plane of a node: a thread of its own that moves packets between the node's UDP socket, its
 * TUN device and its guests' cables. packet_loop.ts describes the way of a packet; this is the handle
 * that the rest of the node holds.
 *
 * ```
 *   main thread                                      packet thread
 *   Plane.addPeer() -- count, postMessage, wake ---> PacketLoop.execute()
 *                   <------------ answer -----------
 *   handlers        <------------ events -----------  at most MAX_UNHANDLED at a time
 * ```
 *
 * The thread ends with {@link Plane.close}, with the process, or with an error of its own, which
 * `onFailed` hears. A TUN interface goes with the thread, also when the process is killed. One file,
 * because the interfaces that the rest of the node codes against stand beside the class they describe.
 *
 * @module
 */

import { OmertaError } from "../../lib/core/errors.ts";
import type { RefusedFrame } from "../filter/refusals.ts";
import type { RehearsedFrame } from "../filter/rehearsal.ts";
import { DEFAULT_ROGUE_LIMITS, type RogueAlarm, type RogueLimits } from "../filter/rogue.ts";
import { DEFAULT_SAMPLE_RATE, type FilterMode } from "../filter/strategy.ts";
import { Endpoint } from "../os/endpoint.ts";
import { Waker } from "../os/reactor.ts";
import {
  type Answer,
  type Command,
  type CommandMessage,
  errorOf,
  type PlaneEvent,
  type PlaneMessage,
  type ProxySettings,
  type TunSettings,
} from "./_messages.ts";
import type { PingAnswer } from "../tcp/ping.ts";
import { SHARED, SHARED_BYTES } from "./gate.ts";
import type { KernelGuest } from "./kernel_leftovers.ts";
import type { PlaneStats } from "./stats.ts";

export type { RehearsedFrame } from "../filter/rehearsal.ts";
export type { PingAnswer } from "../tcp/ping.ts";
export type { ProxySettings, TunSettings } from "./_messages.ts";
export type {
  PlaneGuestStats,
  PlanePeerStats,
  PlaneRelayStats,
  PlaneStats,
  ProxyStats,
  SocketStats,
  StackStats,
} from "./stats.ts";

/** How long the thread may take to start, and to end (ms). */
const START_MS = 30_000;
const CLOSE_MS = 5_000;

/** What a {@link Plane} is made of. */
export interface PlaneOptions {
  /** Main module of the program, which calls `servePlane()` when it finds itself a worker. */
  readonly module: URL;
  /** UDP port; 0 picks a free one. */
  readonly port: number;
  /** X25519 private key of the machine, 32 bytes; copied. */
  readonly privateKey: Uint8Array;
  /** The TUN device; one can also be opened later. */
  readonly tun?: TunSettings;
}

/** Who hears what happens. Called on the main thread; an exception is the caller's own. */
export interface PlaneHandlers {
  /** A control datagram came. The array is the handler's to keep. */
  onControl(datagram: Uint8Array, from: Endpoint): void;
  /** A peer of the node's own device has a new session, or a new address. */
  onPeer(
    event: {
      /** Public key, 32 bytes. */
      readonly publicKey: Uint8Array;
      /** What happened. */
      readonly kind: "handshake" | "roamed";
      /** Where the peer is. */
      readonly endpoint: Endpoint;
    },
  ): void;
  /** Something about a guest. */
  onGuest(event: PlaneGuestEvent): void;
  /** The thread has ended with an error; nothing moves any more. */
  onFailed(error: OmertaError): void;
}

/** What a plane tells about a guest. */
export type PlaneGuestEvent =
  | {
    /** The id the guest was added with. */
    readonly id: string;
    /** Frames were refused; at most one event for each reason in ten seconds. */
    readonly kind: "refused";
    /** Reason word, e.g. `destination`. */
    readonly reason: string;
    /** How many, since the last event for this reason. */
    readonly count: number;
  }
  | {
    /** The id the guest was added with. */
    readonly id: string;
    /** The guest was cut off; nothing moves any more until it is removed. Comes once. */
    readonly kind: "violation";
    /** The frame it was for, and the reason word: `UDP ... > 8.8.8.8:53 len 30 (destination)`. */
    readonly reason: string;
  }
  | {
    /** The id the guest was added with. */
    readonly id: string;
    /** The guest is called rogue; at most one event for each kind of alarm in ten minutes. */
    readonly kind: "rogue";
    /** What for. */
    readonly alarm: RogueAlarm;
  };

/** A peer of the node's own device. */
export interface PlanePeer {
  /** X25519 public key, 32 bytes. */
  readonly publicKey: Uint8Array;
  /** Preshared key, 32 bytes. */
  readonly presharedKey?: Uint8Array;
  /** Where to find it; without one it must begin. */
  readonly endpoint?: Endpoint;
  /** Inner prefixes that are the peer's, `a.b.c.d/n`. */
  readonly allowedIps: readonly string[];
  /** Interval of persistent keepalives (s). @default {0} */
  readonly keepaliveSeconds?: number;
}

/** A guest whose cable is to be served. */
export interface PlaneGuest {
  /** Names it in commands, events and statistics. */
  readonly id: string;
  /** Path of the unix socket that this side binds. */
  readonly cablePath: string;
  /** Path of the one that the hypervisor binds. */
  readonly guestPath: string;
  /** MAC address, `52:54:00:12:34:56`. */
  readonly mac: string;
  /** The guest's WireGuard public key, 32 bytes. */
  readonly publicKey: Uint8Array;
  /** Where its tunnel goes. */
  readonly uplink: Endpoint;
  /** How closely it is looked at; see net/filter/strategy.ts. @default {"filtered"} */
  readonly mode?: FilterMode;
  /** Share of the frames that mode `sampled` judges, above 0 and up to 1. @default {0.01} */
  readonly sampleRate?: number;
  /** From when on it is called rogue; see net/filter/rogue.ts. @default {DEFAULT_ROGUE_LIMITS} */
  readonly rogue?: RogueLimits;
}

/** A tunnel of somebody else's that is carried through the node's port; see relay.ts. */
export interface PlaneRelay {
  /** Names it in commands and statistics; another relay of this id is replaced. */
  readonly id: string;
  /** Where the client is. */
  readonly client: Endpoint;
  /** The client's WireGuard public key, 32 bytes. */
  readonly publicKey: Uint8Array;
  /** Where the client's peer is. */
  readonly uplink: Endpoint;
}

/** A running data plane. */
export class Plane implements AsyncDisposable {
  readonly #worker: Worker;
  readonly #waker = new Waker();
  readonly #shared = new Int32Array(new SharedArrayBuffer(SHARED_BYTES));
  readonly #handlers: PlaneHandlers;
  readonly #pending = new Map<number, PromiseWithResolvers<Answer>>();
  readonly #hello = Promise.withResolvers<void>();
  readonly #ended = Promise.withResolvers<void>();
  #ticket = 0;
  #port = 0;
  #tunName: string | undefined;
  #failure: OmertaError | undefined;
  #isStarted = false;
  #isEnded = false;
  #closing: Promise<void> | undefined;

  private constructor(module: URL, handlers: PlaneHandlers) {
    this.#handlers = handlers;
    this.#worker = new Worker(module, { type: "module", name: "plane" });
    this.#worker.onmessage = ({ data }: MessageEvent<PlaneMessage>) => this.#take(data);
    this.#worker.onerror = (event) => {
      event.preventDefault();
      this.#fail(
        new OmertaError("plane-failed", `Cannot go on carrying packets: ${event.message}`),
      );
      this.#end();
    };
    this.#hello.promise.catch(() => {});
  }

  /**
   * Starts the thread, opens the socket and the TUN device.
   *
   * @param signal Gives the start up.
   * @throws {OmertaError} `port-in-use`, `interface-in-use`, `tun-needs-root`, `tun-missing`,
   * `plane-failed`, ...
   */
  static async start(
    options: PlaneOptions,
    handlers: PlaneHandlers,
    signal?: AbortSignal,
  ): Promise<Plane> {
    signal?.throwIfAborted();
    const plane = new Plane(options.module, handlers);
    try {
      await within(plane.#hello.promise, START_MS, signal);
      plane.#isStarted = true;
      const answer = await within(
        plane.#ask({
          kind: "start",
          start: {
            port: options.port,
            privateKey: options.privateKey,
            tun: options.tun,
            wakeFd: plane.#waker.fd,
            shared: plane.#shared.buffer as SharedArrayBuffer,
          },
        }),
        START_MS,
        signal,
      );
      if (answer.kind === "started") {
        plane.#port = answer.port;
        plane.#tunName = answer.tunName;
      }
      return plane;
    } catch (error) {
      // Not a failure of a running plane: the caller hears of it from here.
      await plane.close();
      throw error;
    }
  }

  /** UDP port of the node. */
  get port(): number {
    return this.#port;
  }

  /** Name of the TUN interface; undefined when there is none. */
  get tunName(): string | undefined {
    return this.#tunName;
  }

  /** Sends a control datagram from the node's port. Lost like any datagram when it cannot be sent. */
  send(datagram: Uint8Array, to: Endpoint): void {
    if (!this.#isEnded) this.#tell(0, { kind: "send", datagram, to: to.sockaddr });
  }

  /**
   * Makes the TUN device, when there is none yet.
   *
   * @throws {OmertaError} `interface-in-use`, `tun-needs-root`, `tun-missing`, `tun-open`, ...
   */
  async openTun(tun: TunSettings): Promise<void> {
    await this.#ask({ kind: "open-tun", tun });
    this.#tunName = tun.name;
  }

  /**
   * Makes the stack of this process an end of the tunnels, when it is none yet; see
   * net/vlan/userspace_interface.ts.
   *
   * @param address Its IPv4 address.
   * @param mtu Largest packet, in bytes.
   * @throws {OmertaError} `bad-address`.
   */
  async openStack(address: string, mtu: number): Promise<void> {
    await this.#ask({ kind: "open-stack", address, mtu });
  }

  /** Replaces the names that lead somewhere: pairs of name and IPv4 address. */
  async setNames(names: readonly (readonly [name: string, address: string])[]): Promise<void> {
    await this.#ask({ kind: "set-names", names });
  }

  /**
   * Opens a way into the tunnels.
   *
   * @returns The port that it listens on; 0 for a pipe.
   * @throws {OmertaError} `no-stack`, `proxy-exists`, `too-many-proxies`, `port-in-use`,
   * `listen-failed`.
   */
  async openProxy(id: string, settings: ProxySettings): Promise<number> {
    const answer = await this.#ask({ kind: "open-proxy", id, settings });
    if (answer.kind === "proxy-opened") return answer.port;
    throw new OmertaError("plane-failed", `Cannot open proxy ${id}`);
  }

  /** Closes one and resets its connections. @returns Whether there was one. */
  async closeProxy(id: string): Promise<boolean> {
    const answer = await this.#ask({ kind: "close-proxy", id });
    return answer.kind === "proxy-closed" && answer.existed;
  }

  /**
   * Sends one echo request by the stack and waits for the answer.
   *
   * @param host A name of {@link setNames}, or an IPv4 address.
   * @throws {OmertaError} `no-stack`, `unknown-host`, `ping-failed`.
   */
  async ping(host: string, timeoutMs: number): Promise<PingAnswer> {
    const answer = await this.#ask({ kind: "ping", host, timeoutMs });
    if (answer.kind === "pinged") return answer.answer;
    throw new OmertaError("plane-failed", `Cannot ping ${host}`);
  }

  /**
   * Connects by the stack and reads the first line that the other side sends by itself.
   *
   * @returns The line without its end; undefined when none has come in time.
   * @throws {OmertaError} `no-stack`, `unknown-host`, `greeting-failed`.
   */
  async greeting(host: string, port: number, timeoutMs: number): Promise<string | undefined> {
    const answer = await this.#ask({ kind: "greet", host, port, timeoutMs });
    if (answer.kind === "greeted") return answer.line;
    throw new OmertaError("plane-failed", `Cannot connect to ${host}`);
  }

  /**
   * Adds a peer to the node's own device, or changes the one of that key.
   *
   * @throws {OmertaError} `bad-key`, `bad-allowed-ip`, `too-many-peers`.
   */
  async addPeer(peer: PlanePeer): Promise<void> {
    await this.#ask({
      kind: "add-peer",
      publicKey: peer.publicKey,
      presharedKey: peer.presharedKey,
      endpoint: peer.endpoint?.sockaddr,
      allowedIps: peer.allowedIps,
      keepaliveSeconds: peer.keepaliveSeconds ?? 0,
    });
  }

  /** Forgets a peer and its keys; nothing when there is none. */
  async removePeer(publicKey: Uint8Array): Promise<void> {
    await this.#ask({ kind: "remove-peer", publicKey });
  }

  /**
   * Binds a guest's cable and serves it.
   *
   * @throws {OmertaError} `guest-exists`, `too-many-guests`, `bad-mac`, `bad-sample-rate`,
   * `cable-failed`.
   */
  async addGuest(guest: PlaneGuest): Promise<void> {
    await this.#ask({
      ...guest,
      kind: "add-guest",
      uplink: guest.uplink.sockaddr,
      mode: guest.mode ?? "filtered",
      sampleRate: guest.sampleRate ?? DEFAULT_SAMPLE_RATE,
      rogue: guest.rogue ?? DEFAULT_ROGUE_LIMITS,
    });
  }

  /**
   * Changes where a guest's tunnel goes.
   *
   * @throws {OmertaError} `no-such-guest`.
   */
  async setUplink(id: string, uplink: Endpoint): Promise<void> {
    await this.#ask({ kind: "set-uplink", id, uplink: uplink.sockaddr });
  }

  /** Closes a guest's cable; nothing when there is none. */
  async removeGuest(id: string): Promise<void> {
    await this.#ask({ kind: "remove-guest", id });
  }

  /**
   * Carries a tunnel of somebody else's.
   *
   * @throws {OmertaError} `too-many-relays`.
   */
  async addRelay({ id, client, publicKey, uplink }: PlaneRelay): Promise<void> {
    await this.#ask({
      ...{ kind: "add-relay", id, publicKey },
      ...{ client: client.sockaddr, uplink: uplink.sockaddr },
    });
  }

  /** Stops carrying a tunnel; nothing when there is none. */
  async removeRelay(id: string): Promise<void> {
    await this.#ask({ kind: "remove-relay", id });
  }

  /**
   * Says which guest the kernel's filter serves, or by undefined that it does so no longer: its
   * datagrams may come to this thread in some cases. It must be gone before its program is closed.
   *
   * @throws {OmertaError} `interface-failed`.
   */
  async setKernelGuest(id: string, guest: KernelGuest | undefined): Promise<void> {
    const copy = guest && { ...guest, uplink: guest.uplink.sockaddr };
    await this.#ask({ kind: "set-kernel-guest", id, guest: copy });
  }

  /**
   * What would become of frames if they came from a guest's cable now. Nothing is sent, counted or
   * remembered.
   *
   * @throws {OmertaError} `no-such-guest`.
   */
  async rehearse(id: string, frames: readonly Uint8Array[]): Promise<readonly RehearsedFrame[]> {
    const answer = await this.#ask({ kind: "rehearse", id, frames });
    if (answer.kind === "rehearsed") return answer.frames;
    throw new OmertaError("plane-failed", `Cannot ask the filter of guest ${id}`);
  }

  /** What has been counted so far. */
  async stats(): Promise<PlaneStats> {
    const answer = await this.#ask({ kind: "stats" });
    if (answer.kind === "stats") return answer.stats;
    throw new OmertaError("plane-failed", "Cannot read the counters of the data plane");
  }

  /**
   * The last frames of a guest that were refused, oldest first.
   *
   * @throws {OmertaError} `no-such-guest`.
   */
  async refusedFrames(id: string): Promise<readonly RefusedFrame[]> {
    const answer = await this.#ask({ kind: "refused-frames", id });
    if (answer.kind === "refused-frames") return answer.frames;
    throw new OmertaError("plane-failed", "Cannot read refused frames from the data plane");
  }

  /** Ends the thread and everything it owns; a second time waits for the first. */
  close(): Promise<void> {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  /** See {@link Plane.close}. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  async #close(): Promise<void> {
    // A thread that was not started yet does not block, so it can simply be terminated.
    if (!this.#isStarted) this.#end();
    if (!this.#isEnded) this.#tell(0, { kind: "close" });
    const timer = setTimeout(() => this.#end(), CLOSE_MS);
    await this.#ended.promise;
    clearTimeout(timer);
  }

  #ask(command: Command): Promise<Answer> {
    if (this.#isEnded) {
      return Promise.reject(
        this.#failure ?? new OmertaError("plane-closed", "Cannot use the data plane: it is closed"),
      );
    }
    this.#ticket++;
    const pending = Promise.withResolvers<Answer>();
    this.#pending.set(this.#ticket, pending);
    this.#tell(this.#ticket, command);
    return pending.promise;
  }

  #tell(ticket: number, command: Command): void {
    const message: CommandMessage = { ticket, command };
    Atomics.add(this.#shared, SHARED.commands, 1);
    this.#worker.postMessage(message);
    this.#waker.wake();
  }

  #take(message: PlaneMessage): void {
    switch (message.kind) {
      case "hello":
        this.#hello.resolve();
        break;
      case "answer": {
        const pending = this.#pending.get(message.ticket);
        this.#pending.delete(message.ticket);
        if (message.answer.kind === "error") pending?.reject(errorOf(message.answer.error));
        else pending?.resolve(message.answer);
        break;
      }
      case "event":
        Atomics.add(this.#shared, SHARED.handled, 1);
        this.#hear(message.event);
        break;
      case "failed":
        this.#fail(errorOf(message.error));
        break;
      case "closed":
        this.#end();
        break;
    }
  }

  #hear(event: PlaneEvent): void {
    switch (event.kind) {
      case "control":
        this.#handlers.onControl(event.datagram, Endpoint.fromSockaddr(event.from, 0));
        break;
      case "peer": {
        const { publicKey, what: kind } = event;
        const endpoint = Endpoint.fromSockaddr(event.endpoint, 0);
        this.#handlers.onPeer({ publicKey, kind, endpoint });
        break;
      }
      case "refused": {
        const { id, reason, count } = event;
        this.#handlers.onGuest({ id, kind: "refused", reason, count });
        break;
      }
      case "violation": {
        const { id, reason } = event;
        this.#handlers.onGuest({ id, kind: "violation", reason });
        break;
      }
      case "rogue":
        this.#handlers.onGuest({ id: event.id, kind: "rogue", alarm: event.alarm });
        break;
    }
  }

  #fail(error: OmertaError): void {
    if (this.#failure !== undefined) return;
    this.#failure = error;
    this.#hello.reject(error);
    if (this.#port !== 0) this.#handlers.onFailed(error);
  }

  #end(): void {
    if (this.#isEnded) return;
    this.#isEnded = true;
    this.#worker.terminate();
    this.#waker[Symbol.dispose]();
    const error = this.#failure ??
      new OmertaError("plane-closed", "Cannot use the data plane: it was closed");
    for (const pending of this.#pending.values()) pending.reject(error);
    this.#pending.clear();
    this.#ended.resolve();
  }
}

/** `promise`, but no longer than `ms`, and not once `signal` is aborted. */
async function within<T>(promise: Promise<T>, ms: number, signal?: AbortSignal): Promise<T> {
  const limit = Promise.withResolvers<never>();
  const timer = setTimeout(() => {
    limit.reject(
      new OmertaError("plane-failed", `Cannot start the data plane: no answer in ${ms / 1000} s`),
    );
  }, ms);
  const abort = (): void => limit.reject(signal?.reason);
  signal?.addEventListener("abort", abort);
  try {
    return await Promise.race([promise, limit.promise]);
  } finally {
    clearTimeout(timer);
    signal?.removeEventListener("abort", abort);
  }
}
