/**
 * The unified node: one process that lends and borrows, over one UDP socket.
 *
 * ```
 *              +-- Lender ----- VmManager, images
 * Control -----+
 *   |          +-- Borrower --- leases, known hosts
 *   |
 * Plane (a thread of its own: UDP socket, WireGuard, TUN, guests' cables)
 * ```
 *
 * @module
 */

import { z } from "zod";
import { chooseHypervisor } from "../../vm/choose_hypervisor.ts";
import { VmManager } from "../../vm/manager.ts";
import type { RefusedFrame } from "../../net/filter/refusals.ts";
import {
  type PingAnswer,
  Plane,
  type PlaneStats,
  type RehearsedFrame,
} from "../../net/plane/plane.ts";
import { type Config, identityOf, type LendRules, loadConfig } from "../core/config.ts";
import { EXIT, messageOf, OmertaError } from "../core/errors.ts";
import type { Identity } from "../core/identity.ts";
import type { VmId } from "../core/ids.ts";
import { readSshPublicKey } from "../core/init.ts";
import { EventLog, logger } from "../core/log.ts";
import { localTimeOf } from "../core/quiet_hours.ts";
import type { Paths } from "../core/paths.ts";
import type { VmAlarm } from "./alarms.ts";
import { Borrower } from "./borrower.ts";
import { type Capacity, capacityOf } from "./capacity.ts";
import { Control } from "./control.ts";
import { GuestEvents } from "./guest_events.ts";
import { hostNow } from "./host_now.ts";
import { KernelGuests } from "./kernel_guests.ts";
import { sweepKernelFilters } from "./kernel_host.ts";
import { KnownHosts } from "./known_hosts.ts";
import { type BorrowedVm, LeaseStore } from "./lease_store.ts";
import type { LentVm } from "./lease.ts";
import { Lender } from "./lender.ts";
import { lenderPartsOf } from "./lender_parts.ts";
import { CHANNEL } from "./messages.ts";
import { OpenProxies } from "./proxies.ts";
import { ProxyStore } from "./proxy_store.ts";
import { describeRules } from "./rules.ts";
import { TunnelEnd, type TunnelEndState } from "./tunnel_end.ts";

/** How a node is started. */
export interface NodeOptions {
  /** Its folders. */
  readonly paths: Paths;
  /** The main module, which serves the data plane when it finds itself a worker. */
  readonly module: URL;
  /** UDP port; 0 for any. */
  readonly port: number;
  /** Whether VMs are lent. */
  readonly lend: boolean;
  /** Accept requests, but start no VM. */
  readonly dryRun: boolean;
  /** Version of the program. */
  readonly version: string;
  /** Called with what the user should know. */
  readonly onWarning: (warning: string) => void;
  /** Called when the node cannot go on. */
  readonly onFailed: (error: OmertaError) => void;
}

/** What a node tells about itself. */
export interface NodeStatus {
  /** Version of the program. */
  readonly version: string;
  /** Process id. */
  readonly pid: number;
  /** When it was started: ms since 1970. */
  readonly started: number;
  /** Id of the peer. */
  readonly peer: string;
  /** Id of the machine. */
  readonly machine: string;
  /** UDP port. */
  readonly port: number;
  /** What is lent; undefined when this node does not lend. */
  readonly lending: Lending | undefined;
  /** How the tunnels to borrowed VMs end on this computer. */
  readonly tunnelEnd: TunnelEndState;
  /** VMs borrowed. */
  readonly borrowed: readonly (BorrowedVm & {
    /** Whether its lender did not answer when it was asked last. */
    readonly lenderSilent: boolean;
  })[];
  /** Control datagrams refused, by reason. */
  readonly controlFaults: Readonly<Record<string, number>>;
  /** Counters of the data plane. */
  readonly plane: PlaneStats;
}

/** What a node lends. */
export interface Lending {
  /** What is lent in all. */
  readonly capacity: Capacity;
  /** The rules beyond that, in words. */
  readonly rules: readonly string[];
  /** What runs VMs here. */
  readonly accelerator: string;
  /** The VMs lent. */
  readonly vms: readonly LentVm[];
  /** Alarms about them, and about VMs that have ended, that nobody has looked at yet. */
  readonly alarms: readonly VmAlarm[];
  /** Whether requests are accepted but no VM is started. */
  readonly dryRun: boolean;
}

const log = logger("node");

/** A running node. */
export class Node implements AsyncDisposable {
  /** Who it is. */
  readonly identity: Identity;
  /** Its folders. */
  readonly paths: Paths;
  /** What happens is written here. */
  readonly events: EventLog;
  /** Borrows. */
  readonly borrower: Borrower;
  /** Lends; undefined when this node does not. */
  readonly lender: Lender | undefined;
  /** VMs of this host. */
  readonly manager: VmManager;
  readonly #options: NodeOptions;
  readonly #plane: Plane;
  readonly #kernel: KernelGuests;
  readonly #control: Control;
  readonly #started = Date.now();
  #config: Config;
  readonly #end: TunnelEnd;
  /** Forwards and SOCKS5 servers. */
  readonly proxies: OpenProxies;

  private constructor(
    options: NodeOptions,
    config: Config,
    sshKey: string,
    parts: {
      readonly events: EventLog;
      readonly leases: LeaseStore;
      readonly manager: VmManager;
      readonly plane: Plane;
      readonly kernel: KernelGuests;
      readonly control: (node: Node) => Control;
      readonly lender: (control: Control) => Lender | undefined;
    },
  ) {
    this.#options = options;
    this.#config = config;
    this.identity = identityOf(config);
    this.paths = options.paths;
    this.events = parts.events;
    this.manager = parts.manager;
    this.#plane = parts.plane;
    this.#kernel = parts.kernel;
    this.#control = parts.control(this);
    this.#end = new TunnelEnd(this.#plane, options.paths.pipe);
    this.proxies = new OpenProxies({
      plane: this.#plane,
      openStack: () => this.#end.openStack(),
      store: new ProxyStore(options.paths.forwards),
      events: this.events,
    });
    this.borrower = new Borrower({
      control: this.#control,
      plane: this.#plane,
      end: this.#end,
      identity: this.identity,
      config: () => this.#config,
      leases: parts.leases,
      knownHosts: new KnownHosts(options.paths.knownHosts),
      sshKey,
      events: this.events,
      now: Date.now,
    });
    this.lender = parts.lender(this.#control);
    this.#control.handle(CHANNEL.ping, z.strictObject({}), () => ({
      lends: this.lender !== undefined,
      version: options.version,
    }));
  }

  /**
   * Starts a node. What a killed one left behind is ended first.
   *
   * @throws {OmertaError} When the configuration, the port or the state of this home does not allow it.
   */
  static async start(options: NodeOptions): Promise<Node> {
    const { paths, onWarning } = options;
    const config = await loadConfig(paths);
    const sshKey = await readSshPublicKey(paths);
    const leases = await LeaseStore.load(paths.leases);
    await using undo = new AsyncDisposableStack();
    const events = undo.use(new EventLog(paths.logs));
    const manager = undo.use(
      new VmManager({ folder: paths.vms, hypervisor: await chooseHypervisor(), onWarning }),
    );
    const left = await sweepKernelFilters();
    for (const what of [...(await manager.sweep()).done, ...left]) {
      onWarning(what);
      events.add({ event: "swept", what });
    }
    const guests = new GuestEvents(events);
    // Datagrams may come before the node is there; they are lost then, as datagrams may be.
    const late: { node?: Node } = {};
    const identity = identityOf(config);
    const plane = undo.use(
      await Plane.start({
        module: options.module,
        port: options.port,
        privateKey: identity.machinePrivateKey,
      }, {
        onControl: (datagram, from) => {
          if (late.node) late.node.#control.receive(datagram, from);
        },
        onPeer: (event) => {
          const { kind, publicKey, endpoint } = event;
          if (kind === "handshake") late.node?.borrower.onHandshake(publicKey);
          else {
            late.node?.borrower.onRoamed(publicKey, endpoint).catch((error: unknown) => {
              log.warning("Cannot follow a lender: {error}", { error: messageOf(error) });
            });
          }
        },
        onGuest: (event) => guests.take(event),
        onFailed: options.onFailed,
      }),
    );
    const kernel = undo.use(
      new KernelGuests({
        nodePort: plane.port,
        setKernelGuest: (id, guest) => plane.setKernelGuest(id, guest),
        onRefused: (id, reason, count, last) => guests.refused(id, reason, count, last),
        onRogue: (id, alarm) => guests.rogue(id, alarm),
      }),
    );
    const lenderParts = options.lend ? await lenderPartsOf(paths) : undefined;
    const node = new Node(options, config, sshKey, {
      events,
      leases,
      manager,
      plane,
      kernel,
      control: (self) =>
        new Control({
          identity,
          networks: () => self.borrower.networks(),
          send: (datagram, to) => plane.send(datagram, to),
          now: Date.now,
        }),
      lender: (control) =>
        lenderParts && new Lender({
          ...lenderParts,
          control,
          networkOf: (mode) => mode === "ebpf" ? kernel : plane,
          guestStats: async () => [...(await plane.stats()).guests, ...kernel.stats()],
          manager,
          rules: async () => late.node ? await late.node.#readRules() : config.lend,
          host: hostNow,
          localTime: localTimeOf,
          localKey: config.localKey,
          dryRun: options.dryRun,
          events,
          now: Date.now,
        }),
    });
    late.node = node;
    guests.lender = node.lender;
    await node.borrower.resume();
    await node.proxies.resume(onWarning);
    undo.move();
    return node;
  }

  /** UDP port of the node. */
  get port(): number {
    return this.#plane.port;
  }

  /** The configuration, as it is now. */
  get config(): Config {
    return this.#config;
  }

  /** Reads the configuration again: links may have been imported since the start. */
  async reload(): Promise<void> {
    this.#config = { ...await loadConfig(this.paths), identity: this.#config.identity };
  }

  /**
   * What the filter of a lent VM would do with frames from its cable; nothing comes of it.
   *
   * @throws {OmertaError} `no-such-guest`, when no filter of this node's has its cable.
   */
  async rehearse(id: VmId, frames: readonly Uint8Array[]): Promise<readonly RehearsedFrame[]> {
    return this.#kernel.rehearse(id, frames) ?? await this.#plane.rehearse(id, frames);
  }

  /**
   * Sends one echo request to a borrowed VM by the stack of this process.
   *
   * @param host Name, id or address of the VM.
   * @throws {OmertaError} `no-stack`, `unknown-host`, `ping-failed`.
   */
  async ping(host: string, timeoutMs: number): Promise<PingAnswer> {
    return await this.#plane.ping(host, timeoutMs);
  }

  /** What this node tells about itself. */
  async status(): Promise<NodeStatus> {
    const plane = await this.#plane.stats();
    // With a file that cannot be read nothing is lent; what was known last is shown.
    const rules = await this.#readRules().catch(() => this.#config.lend);
    return {
      version: this.#options.version,
      pid: Deno.pid,
      started: this.#started,
      peer: this.identity.peerId,
      machine: this.identity.machineId,
      port: this.port,
      lending: this.lender && {
        capacity: capacityOf(rules),
        rules: describeRules(rules, localTimeOf(Date.now())),
        accelerator: this.lender.accelerator,
        vms: this.lender.list(),
        alarms: this.lender.alarms.list(),
        dryRun: this.#options.dryRun,
      },
      tunnelEnd: this.#end.state,
      borrowed: this.borrower.list().map((vm) => ({
        ...vm,
        lenderSilent: this.borrower.isSilent(vm),
      })),
      controlFaults: this.#control.faults,
      plane: { ...plane, guests: [...plane.guests, ...this.#kernel.stats()] },
    };
  }

  /**
   * The last frames of a VM that is lent that were refused, oldest first.
   *
   * @throws {OmertaError} `no-such-guest`, when it has no cable.
   */
  refusedFrames(id: VmId): Promise<readonly RefusedFrame[]> {
    const inKernel = this.#kernel.refused(id);
    return inKernel ? Promise.resolve(inKernel) : this.#plane.refusedFrames(id);
  }

  /** What is lent, to whom and when, as the file says now; nothing else is taken from it. */
  async #readRules(): Promise<LendRules> {
    try {
      const { lend } = await loadConfig(this.paths);
      this.#config = { ...this.#config, lend };
      return lend;
    } catch (error) {
      log.error("Cannot read the rules: {error}", { error: messageOf(error) });
      // A borrower is not told what stands in a file of the lender's.
      throw new OmertaError("no-rules", "Cannot lend now: the lender's rules cannot be read", {
        exit: EXIT.refused,
        next: "Tell the lender to look at 'omerta lend show'",
        cause: error,
      });
    }
  }

  /** Ends requests, VMs and the data plane. What is borrowed stays borrowed. */
  async [Symbol.asyncDispose](): Promise<void> {
    for (
      const part of [
        () => this.proxies[Symbol.dispose](),
        () => this.borrower[Symbol.asyncDispose](),
        () => this.lender?.[Symbol.asyncDispose](),
        () => this.manager[Symbol.asyncDispose](),
        () => this.#kernel[Symbol.dispose](),
        () => this.#control[Symbol.dispose](),
        () => this.#plane.close(),
        () => this.events[Symbol.dispose](),
      ]
    ) {
      try {
        await part();
      } catch (error) {
        log.error("Cannot end a part of the node: {error}", { error: messageOf(error) });
      }
    }
  }
}
