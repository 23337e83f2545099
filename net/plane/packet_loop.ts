/**
 * The loop that moves packets: one thread, one UDP socket, one TUN device, one cable for each guest.
 *
 * From this computer into the tunnel:
 *
 *  1. `poll` says that the TUN device is readable; a bounded number of reads follows
 *     (net/vlan/tun_interface.ts).
 *  2. Each read is up to 64 KiB of one TCP flow. It is cut into packets (net/os/offload_split.ts),
 *     each of which is written where it will be sent from, behind room for a WireGuard header.
 *  3. The device finds the peer by destination address, pads, and seals in place.
 *  4. Packets of equal length to one peer become one message of up to 64 KiB (net/os/udp_linux.ts).
 *  5. At the end of the turn one `sendmmsg` hands all of it to the kernel.
 *
 * From the UDP socket:
 *
 *  6. `recvmmsg` brings up to 32 messages of up to 64 datagrams each; at most {@link UDP_DATAGRAMS}.
 *  7. The first bytes tell WireGuard from control from anything else (demux.ts). Control datagrams
 *     are copied to the main thread through a gate (gate.ts).
 *  8. A relay's client is known by its address (relay.ts); the switch (wireguard_switch.ts) tells a
 *     guest's or a relay's message from the node's own.
 *  9. The node's own: the device opens it straight into the TUN device's memory and checks the source
 *     address; segments of one flow are joined (net/os/offload_join.ts) and written at once. Without a
 *     TUN device, and what is its own, goes to the stack (net/vlan/joined_interface.ts).
 * 10. A guest's: the filter puts headers in front of it, in the memory of the guest's cable; the end
 *     of the turn sends all frames.
 *
 * From a guest's cable:
 *
 * 11. `recvmmsg` brings frames; the filter writes what may pass into the memory of the UDP socket,
 *     and the switch notes the indices of the guest's sessions; then step 5.
 *
 * Each source gets one bounded turn in each round, so that none starves another. A guest's turn is
 * bounded in bytes (guest.ts). When the kernel has no room for what is to be sent, nothing is dropped:
 * guests and the TUN device wait, each in its own queue, and when there is room again, those whose
 * turn it was go first (turns.ts). What comes in and control messages go on meanwhile.
 *
 * What the loop does between packets, commands of the main thread and the device's timers, happens
 * between rounds. On the way of a packet nothing is allocated and nothing throws. All of this is one
 * file, longer than others, because a packet's way goes through the whole of it.
 *
 * @module
 */

import { OmertaError } from "../../lib/core/errors.ts";
import type { CableOptions } from "../os/cable_options.ts";
import { Endpoint } from "../os/endpoint.ts";
import type { DatagramHandler, PacketSocket, UdpSocket } from "../os/packet_socket.ts";
import type { Reactor } from "../os/reactor.ts";
import type { TunDevice, TunOptions } from "../os/tun_device.ts";
import type { UdpOptions } from "../os/udp_options.ts";
import { JoinedInterface } from "../vlan/joined_interface.ts";
import type { NetworkInterface } from "../vlan/network_interface.ts";
import { TunInterface } from "../vlan/tun_interface.ts";
import { Device } from "../wireguard/device.ts";
import type { Answer, Command, PlaneEvent, TunSettings } from "./_messages.ts";
import { peerStats } from "./_peer_stats.ts";
import { prefixOf } from "./_prefixes.ts";
import { KIND, kindOf } from "./demux.ts";
import type { Gate } from "./gate.ts";
import { Guests } from "./guests.ts";
import { KernelLeftovers } from "./kernel_leftovers.ts";
import type { SwitchOwner } from "./relay.ts";
import { Relays } from "./relays.ts";
import type { PlaneStats } from "./stats.ts";
import { type Sender, Turns } from "./turns.ts";
import { type LaterCommand, UserCommands } from "./user_commands.ts";
import { WireguardSwitch } from "./wireguard_switch.ts";

/** Datagrams of the UDP socket in one turn. */
export const UDP_DATAGRAMS = 512;
/** Longest control datagram that is handed on (bytes). */
export const MAX_CONTROL = 2048;
/** Inner MTU when none is given (bytes). */
const DEFAULT_MTU = 1400;

/** The operating system, as far as the loop needs it. */
export interface PlaneOs {
  /** Opens the node's socket. */
  openUdp(options: UdpOptions): UdpSocket;
  /** Binds a guest's cable. */
  openCable(options: CableOptions): PacketSocket;
  /** Makes the TUN device. */
  openTun(options: TunOptions): TunDevice;
  /** Waits for all of them. */
  readonly reactor: Reactor;
}

/** What a {@link PacketLoop} is made of. */
export interface PacketLoopOptions {
  /** UDP port; 0 picks one. */
  readonly port: number;
  /** X25519 private key, 32 bytes; copied. */
  readonly privateKey: Uint8Array;
  /** The TUN device to begin with. */
  readonly tun: TunSettings | undefined;
  /** Sockets and devices. */
  readonly os: PlaneOs;
  /** Limits what goes to {@link post}. */
  readonly gate: Gate;
  /** Takes events. */
  readonly post: (event: PlaneEvent) => void;
}

/** What the loop can be asked for. */
export type LoopCommand = Exclude<Command, { kind: "start" } | LaterCommand>;

/** The loop and everything it owns. */
export class PacketLoop implements DatagramHandler, Disposable {
  readonly #os: PlaneOs;
  readonly #gate: Gate;
  readonly #post: (event: PlaneEvent) => void;
  readonly #owned = new DisposableStack();
  readonly #udp: UdpSocket;
  readonly #leftovers: KernelLeftovers;
  readonly #device: Device;
  /** What comes out of the node's own tunnels goes there. */
  readonly #inner = new JoinedInterface();
  readonly #switch = new WireguardSwitch<SwitchOwner>();
  readonly #user: UserCommands;
  readonly #guests: Guests;
  readonly #relays = new Relays();
  /** Those with something to flush at the end of the turn. */
  readonly #pending: SwitchOwner[] = [];
  readonly #turns: Turns;
  #tun: TunInterface | undefined;
  #now = Date.now();
  #closing = false;
  #controlReceived = 0;
  #controlDropped = 0;
  #unknown = 0;
  #eventsDropped = 0;

  /**
   * Opens the socket and the TUN device.
   *
   * @throws {OmertaError} `port-in-use`, `interface-in-use`, `tun-needs-root`, ...
   */
  constructor(options: PacketLoopOptions) {
    using undo = new DisposableStack();
    undo.use(this.#owned);
    this.#os = options.os;
    this.#gate = options.gate;
    this.#post = options.post;
    this.#udp = this.#owned.use(this.#os.openUdp({ port: options.port }));
    this.#leftovers = this.#owned.use(new KernelLeftovers(this.#udp.port));
    this.#device = this.#owned.use(
      new Device({
        privateKey: options.privateKey,
        out: this.#udp.out,
        inner: this.#inner.inbound,
        now: this.#now,
        mtu: options.tun?.mtu ?? DEFAULT_MTU,
        onEvent: (publicKey, what, endpoint): void => {
          // It has a new session, or is elsewhere: it may have been away.
          this.#user.retry((address) => this.#device.leadsTo(address, publicKey));
          if (this.#gate.admit()) {
            this.#post({
              kind: "peer",
              publicKey: publicKey.slice(),
              what,
              endpoint: endpoint.sockaddr,
            });
          } else this.#eventsDropped++;
        },
      }),
    );
    this.#owned.use(this.#inner).start(this.#device.outbound);
    this.#user = this.#owned.use(
      new UserCommands({
        attach: (link) => this.attach(link),
        leadsTo: (address) => this.#device.leadsTo(address),
        reactor: this.#os.reactor,
        begin: () => this.#begin(),
      }),
    );
    this.#turns = new Turns(this.#os.reactor, this.#udp, () => this.#now = Date.now());
    this.#guests = new Guests({
      openCable: (cable) => this.#os.openCable(cable),
      udp: this.#udp,
      turns: this.#turns,
      table: this.#switch,
      now: () => this.#now,
      gate: this.#gate,
      post: this.#post,
    });
    this.#os.reactor.add(this.#udp, () => this.#drainUdp());
    this.#owned.defer(() => this.#os.reactor.remove(this.#udp));
    if (options.tun !== undefined) this.#openTun(options.tun);
    undo.move();
  }

  /** The UDP port. */
  get port(): number {
    return this.#udp.port;
  }

  /** Name of the TUN device. */
  get tunName(): string | undefined {
    return this.#tun?.name;
  }

  /**
   * Makes an interface the inner end of the node's own tunnels, or one of two: a userspace one, and any
   * other. It is stopped with the loop.
   *
   * @throws {OmertaError} `interface-open` when there is one of its kind, `too-many-sources`.
   */
  attach(link: NetworkInterface): void {
    using undo = new DisposableStack();
    const { source } = link;
    if (source !== undefined) {
      const sender: Sender = { waiting: false, drain: () => this.#drain(link) };
      this.#turns.add(source, sender);
      undo.defer(() => this.#turns.remove(source, sender));
    }
    this.#inner.attach(link);
    this.#owned.use(undo.move());
  }

  /**
   * Moves packets until a `close` command.
   *
   * @param between Called after each round; runs the commands that have been announced.
   */
  async run(between: () => Promise<void> | undefined): Promise<void> {
    while (!this.#closing) {
      const now = this.#begin();
      const due = this.#device.tick(this.#now);
      this.#udp.out.flush();
      const inner = Math.ceil(Math.min(this.#user.tick(now), this.#inner.tick(now)) - now);
      const turn = this.#os.reactor.wait(this.#turns.waitMs(Math.min(due - this.#now, inner)));
      // No `await` when the thread may block: it would cost a turn of the event loop per round.
      if (typeof turn !== "boolean") await turn;
      this.#turns.serve();
      const commands = between();
      if (commands !== undefined) await commands;
    }
  }

  /** Runs one command of the main thread. */
  execute(command: LoopCommand): Answer {
    this.#device.setNow(this.#now = Date.now());
    switch (command.kind) {
      case "send":
        this.#send(command.datagram, command.to);
        break;
      case "open-tun":
        this.#openTun(command.tun);
        break;
      case "open-stack":
      case "set-names":
      case "open-proxy":
      case "close-proxy":
        return this.#user.execute(command);
      case "add-peer":
        this.#device.addPeer({
          publicKey: command.publicKey,
          allowedIps: command.allowedIps.map(prefixOf),
          keepaliveSeconds: command.keepaliveSeconds,
          ...(command.presharedKey ? { presharedKey: command.presharedKey } : {}),
          ...(command.endpoint ? { endpoint: Endpoint.fromSockaddr(command.endpoint, 0) } : {}),
        });
        break;
      case "remove-peer":
        this.#device.removePeer(command.publicKey);
        break;
      case "add-guest":
        this.#guests.add(command);
        break;
      case "set-uplink":
        this.#guests.get(command.id).setUplink(Endpoint.fromSockaddr(command.uplink, 0));
        break;
      case "remove-guest":
        this.#guests.remove(command.id);
        break;
      case "add-relay":
        this.#relays.add({
          id: command.id,
          client: Endpoint.fromSockaddr(command.client, 0),
          publicKey: command.publicKey,
          uplink: Endpoint.fromSockaddr(command.uplink, 0),
          out: this.#udp.out,
          table: this.#switch,
        });
        break;
      case "remove-relay":
        this.#relays.remove(command.id);
        break;
      case "set-kernel-guest": {
        const { id, guest } = command;
        const uplink = guest && Endpoint.fromSockaddr(guest.uplink, 0);
        this.#leftovers.set(id, guest && uplink && { ...guest, uplink });
        break;
      }
      case "rehearse":
        return { kind: "rehearsed", frames: this.#guests.get(command.id).rehearse(command.frames) };
      case "stats":
        return { kind: "stats", stats: this.#stats() };
      case "refused-frames":
        return { kind: "refused-frames", frames: this.#guests.get(command.id).refused() };
      case "close":
        this.#closing = true;
        break;
    }
    return { kind: "done" };
  }

  /** Begins what takes time; see {@link UserCommands.begin}. */
  begin(command: LaterCommand, done: (answer: Answer) => void): void {
    this.#user.begin(command, done);
  }

  /** Closes everything: sockets, devices, keys. */
  [Symbol.dispose](): void {
    this.#closing = true;
    this.#guests[Symbol.dispose]();
    this.#relays[Symbol.dispose]();
    this.#owned.dispose();
  }

  /** Takes one datagram of the UDP socket; see {@link DatagramHandler.receive}. */
  receive(
    buffer: Uint8Array,
    at: number,
    length: number,
    names: Uint8Array,
    nameAt: number,
  ): void {
    switch (kindOf(buffer, at, length)) {
      case KIND.wireguard: {
        if (this.#relays.takeFromClient(buffer, at, length, names, nameAt)) return;
        const owner = this.#switch.route(buffer, at, length, names, nameAt);
        if (owner === undefined) {
          if (this.#leftovers.take(buffer, at, length, names, nameAt)) return;
          this.#device.receive(buffer, at, length, names, nameAt, this.#now);
          return;
        }
        owner.fromUplink(buffer, at, length, names, nameAt);
        if (!owner.pending) {
          owner.pending = true;
          this.#pending.push(owner);
        }
        return;
      }
      case KIND.control:
        this.#receiveControl(buffer, at, length, names, nameAt);
        return;
      default:
        this.#unknown++;
    }
  }

  #receiveControl(
    buffer: Uint8Array,
    at: number,
    length: number,
    names: Uint8Array,
    nameAt: number,
  ): void {
    if (length > MAX_CONTROL || !this.#gate.admitControl(this.#now, names, nameAt)) {
      this.#controlDropped++;
      return;
    }
    this.#controlReceived++;
    this.#post({
      kind: "control",
      datagram: buffer.slice(at, at + length),
      from: Endpoint.fromSockaddr(names, nameAt).sockaddr,
    });
  }

  /** What comes from now on, comes now. @returns Time of now, in ms, by a clock that never goes back. */
  #begin(): number {
    this.#device.setNow(this.#now = Date.now());
    const now = performance.now();
    this.#inner.begin(now);
    this.#user.setNow(now);
    return now;
  }

  #drainUdp(): void {
    this.#begin();
    this.#udp.drain(this, UDP_DATAGRAMS);
    this.#inner.flush();
    const pending = this.#pending;
    for (let i = 0; i < pending.length; i++) {
      const owner = pending[i];
      if (owner === undefined) continue;
      owner.pending = false;
      owner.flush();
    }
    pending.length = 0;
    // Answers of the device: handshakes, keepalives; and what relays hand on.
    this.#udp.out.flush();
  }

  #drain(link: NetworkInterface): boolean {
    this.#device.setNow(this.#now);
    const isThere = link.drain();
    this.#udp.out.flush();
    if (isThere) return true;
    throw new OmertaError(
      "interface-gone",
      `Cannot go on carrying packets: somebody has removed interface ${link.name}`,
    );
  }

  #send(datagram: Uint8Array, to: Uint8Array): void {
    const out = this.#udp.out;
    const at = out.reserve(datagram.length);
    if (at < 0) return;
    out.buffer.set(datagram, at);
    out.commit(datagram.length, Endpoint.fromSockaddr(to, 0));
    out.flush();
  }

  #openTun(settings: TunSettings): void {
    if (this.#tun !== undefined) {
      throw new OmertaError(
        "tun-open",
        `Cannot open interface ${settings.name}: ${this.#tun.name} is open already`,
      );
    }
    using undo = new DisposableStack();
    const { name, address, mtu = DEFAULT_MTU } = settings;
    const tun = undo.use(
      new TunInterface({ name, address, mtu }, (options) => this.#os.openTun(options)),
    );
    this.attach(tun);
    undo.move();
    this.#tun = tun;
  }

  #stats(): PlaneStats {
    return {
      peers: this.#device.stats().map(peerStats),
      guests: Array.from(this.#guests.values(), (guest) => guest.stats()),
      relays: this.#relays.stats(),
      udp: { ...this.#udp.counters },
      tun: this.#tun && { ...this.#tun.counters },
      stack: this.#user.stats(),
      wireguard: { ...this.#device.counters },
      controlReceived: this.#controlReceived,
      controlDropped: this.#controlDropped,
      unknown: this.#unknown,
      noTun: this.#inner.dropped,
      eventsDropped: this.#eventsDropped + this.#guests.eventsDropped,
    };
  }
}
