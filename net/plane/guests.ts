/**
 * The guests of a packet thread, by id; guest.ts is one of them.
 *
 * @module
 */

import { OmertaError } from "../../lib/core/errors.ts";
import { isSampleRate, strategyOf } from "../filter/strategy.ts";
import type { CableOptions } from "../os/cable_options.ts";
import { Endpoint } from "../os/endpoint.ts";
import type { PacketSocket, UdpSocket } from "../os/packet_socket.ts";
import { parseMac } from "../wire/ethernet.ts";
import type { Command, PlaneEvent } from "./_messages.ts";
import type { Gate } from "./gate.ts";
import { Guest } from "./guest.ts";
import type { SwitchOwner } from "./relay.ts";
import type { Turns } from "./turns.ts";
import type { WireguardSwitch } from "./wireguard_switch.ts";

/** Guests of one node; one more is an error. */
export const MAX_GUESTS = 256;

/** What guests are joined to. */
export interface GuestsOptions {
  /** Binds a guest's cable. */
  readonly openCable: (options: CableOptions) => PacketSocket;
  /** Takes what they send. */
  readonly udp: UdpSocket;
  /** Gives each its turn. */
  readonly turns: Turns;
  /** Tells their messages apart. */
  readonly table: WireguardSwitch<SwitchOwner>;
  /** The time, in ms. */
  readonly now: () => number;
  /** Limits what goes to {@link post}. */
  readonly gate: Gate;
  /** Takes events. */
  readonly post: (event: PlaneEvent) => void;
}

/** The guests of a node. */
export class Guests implements Disposable {
  /** Events about refused frames that found no place. */
  eventsDropped: number = 0;
  readonly #o: GuestsOptions;
  readonly #guests = new Map<string, Guest>();

  /** No guests. */
  constructor(options: GuestsOptions) {
    this.#o = options;
  }

  /** All of them. */
  values(): Iterable<Guest> {
    return this.#guests.values();
  }

  /**
   * One of them.
   *
   * @throws {OmertaError} `no-such-guest`.
   */
  get(id: string): Guest {
    const guest = this.#guests.get(id);
    if (guest !== undefined) return guest;
    throw new OmertaError("no-such-guest", `Cannot find guest ${id}`);
  }

  /**
   * Binds a guest's cable and puts a filter at its end.
   *
   * @throws {OmertaError} `guest-exists`, `too-many-guests`, `bad-mac`, `bad-sample-rate`, or what
   * {@link GuestsOptions.openCable} throws.
   */
  add(command: Extract<Command, { kind: "add-guest" }>): void {
    const { id, sampleRate } = command;
    const { openCable, udp, turns, table, now, gate, post } = this.#o;
    if (this.#guests.has(id)) throw cannotAdd("guest-exists", id, "there is one of that id");
    if (this.#guests.size >= MAX_GUESTS) {
      throw cannotAdd("too-many-guests", id, `${MAX_GUESTS} is the limit`);
    }
    const mac = parseMac(command.mac);
    if (mac === undefined) throw cannotAdd("bad-mac", id, `"${command.mac}" is no MAC address`);
    if (!isSampleRate(sampleRate)) {
      const why = `the share to judge is ${sampleRate}, want above 0 and up to 1`;
      throw cannotAdd("bad-sample-rate", id, why);
    }
    const cable = openCable({ localPath: command.cablePath, peerPath: command.guestPath });
    const guest = new Guest({
      ...{ id, cable, mac, table, now },
      publicKey: command.publicKey,
      uplink: Endpoint.fromSockaddr(command.uplink, 0),
      toUplink: udp,
      strategy: strategyOf(command.mode, sampleRate),
      rogue: command.rogue,
      onRefused: (guestId, reason, count): void => {
        if (gate.admit()) post({ kind: "refused", id: guestId, reason, count });
        else this.eventsDropped++;
      },
      // Never dropped: there is one for each guest at the most.
      onViolation: (guestId, reason): void => {
        gate.pass();
        post({ kind: "violation", id: guestId, reason });
      },
      // Never dropped: each kind of them comes once in ten minutes.
      onRogue: (guestId, alarm): void => {
        gate.pass();
        post({ kind: "rogue", id: guestId, alarm });
      },
    });
    turns.add(cable, guest);
    this.#guests.set(id, guest);
  }

  /** Removes a guest; nothing when there is none. */
  remove(id: string): void {
    const guest = this.#guests.get(id);
    if (guest === undefined) return;
    this.#guests.delete(id);
    this.#o.turns.remove(guest.cable, guest);
    guest[Symbol.dispose]();
  }

  /** Removes all. */
  [Symbol.dispose](): void {
    for (const id of [...this.#guests.keys()]) this.remove(id);
  }
}

function cannotAdd(code: string, id: string, why: string): OmertaError {
  return new OmertaError(code, `Cannot add guest ${id}: ${why}`);
}
