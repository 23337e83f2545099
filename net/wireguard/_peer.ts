/**
 * One peer: its handshake, its sessions, its timers and the packets that wait for a session.
 *
 * @module
 */

import { Endpoint } from "../os/endpoint.ts";
import type { DatagramSink } from "../os/sink.ts";
import type { Ipv4Prefix } from "../wire/ip_address.ts";
import { Keypairs } from "./_keypairs.ts";
import { INITIATION_INTERVAL_MS, MAX_STAGED, type Timing } from "./constants.ts";
import { CookieJar } from "./cookie.ts";
import type { DeviceCounters } from "./counters.ts";
import { type CryptoSuite, TAG_LEN } from "./crypto.ts";
import type { PeerEvent } from "./device_options.ts";
import type { Handshake, Identity, OpenedInitiation, SessionKeys } from "./handshake.ts";
import { Keypair } from "./keypair.ts";
import {
  paddedLength,
  sealedLength,
  TRANSPORT,
  TRANSPORT_HEADER_LEN,
  writeCounter,
  writeIndex,
} from "./messages.ts";
import { tai64n } from "./tai64n.ts";
import { ACTION, type Schedule, Timers } from "./timers.ts";

/** What all peers of a device share. */
export interface Context {
  /** Crypto. */
  readonly suite: CryptoSuite;
  /** Our key. */
  readonly identity: Identity;
  /** Where messages go. */
  readonly out: DatagramSink;
  /** Times of the protocol. */
  readonly timing: Timing;
  /** The earliest deadline of all peers. */
  readonly schedule: Schedule;
  /** Why messages were dropped. */
  readonly counters: DeviceCounters;
  /** Handshakes of ours that wait for a response, by our index. */
  readonly handshakes: Map<number, Peer>;
  /** Sessions by our index. */
  readonly sessions: Map<number, Keypair<Peer>>;
  /** Inner MTU in bytes, which padding does not exceed. */
  readonly mtu: number;
  /** Told what happened. */
  readonly onEvent: (publicKey: Uint8Array, kind: PeerEvent, endpoint: Endpoint) => void;
  /** The time, in ms since 1970. */
  now: number;
  /** Time of the last initiation of ours, which the next one must exceed. In ms. */
  lastTimestamp: number;
}

/** A peer. Only the device and its tests know this class. */
export class Peer {
  /** Its static key. */
  readonly publicKey: Uint8Array;
  /** The handshake under way. */
  readonly handshake: Handshake;
  /** Cookie it gave us. */
  readonly cookies: CookieJar;
  /** What is due when. */
  readonly timers: Timers;
  /** Where it was heard from last. */
  endpoint: Endpoint | undefined;
  /** Its inner addresses. Only shown: the device's routes know them. */
  allowedIps: readonly Ipv4Prefix[] = [];
  /** Interval of persistent keepalives in s; 0 is off. Only shown: the timers know it. */
  keepaliveSeconds = 0;
  /** Bytes of authenticated UDP payload received. */
  rxBytes = 0;
  /** Bytes of UDP payload sent. */
  txBytes = 0;
  /** When the last session began, in ms. */
  lastHandshakeMs: number | undefined;

  readonly #context: Context;
  readonly #keypairs: Keypairs<Peer>;
  #handshakeIndex: number | undefined;
  #lastHandshakeSent = -Infinity;
  #lastInitiationTaken = -Infinity;
  #lastMinuteHandshake = false;
  #closed = false;
  readonly #staged: Uint8Array[] = [];

  /** A peer without a session. */
  constructor(context: Context, publicKey: Uint8Array, handshake: Handshake) {
    this.#context = context;
    this.publicKey = publicKey;
    this.handshake = handshake;
    this.cookies = new CookieJar(publicKey);
    this.#keypairs = new Keypairs(context.sessions);
    this.timers = new Timers(context.timing, context.schedule, () => {
      const [byte = 0] = context.identity.random(1);
      return byte / 255;
    });
  }

  /** Number of packets that wait for a session. */
  get staged(): number {
    return this.#staged.length;
  }

  /** The session to send with, or undefined when there is none that is young enough. */
  sendingKeypair(): Keypair<Peer> | undefined {
    const keypair = this.#keypairs.current;
    if (keypair === undefined || this.#closed) return undefined;
    const { now, timing } = this.#context;
    if (keypair.sendCounter >= timing.rejectAfterMessages) return undefined;
    return now - keypair.createdAt < timing.rejectAfterMs ? keypair : undefined;
  }

  /** Keeps a packet until there is a session, and wants one. */
  stage(packet: Uint8Array): void {
    if (this.#staged.length >= MAX_STAGED) {
      this.#staged.shift();
      this.#context.counters.stagedDropped++;
    }
    this.#staged.push(packet);
    this.sendInitiation(false);
  }

  /**
   * Seals the packet of `length` bytes that stands at `at` in the reserved room of the sink, 16
   * bytes behind its beginning, and commits it. There must be room for padding and tag.
   */
  transmit(keypair: Keypair<Peer>, at: number, length: number): void {
    const { out, now, counters, mtu } = this.#context;
    const { endpoint, timers } = this;
    if (endpoint === undefined) {
      counters.noEndpoint++;
      return;
    }
    const buffer = out.buffer;
    const padded = paddedLength(length, mtu);
    for (let i = at + length; i < at + padded; i++) buffer[i] = 0;
    const counter = keypair.sendCounter++;
    const header = at - TRANSPORT_HEADER_LEN;
    writeIndex(buffer, header, TRANSPORT);
    writeIndex(buffer, header + 4, keypair.remoteIndex);
    writeCounter(buffer, header + 8, counter);
    keypair.sealer.seal(counter, buffer, at, padded, buffer, at);
    const size = TRANSPORT_HEADER_LEN + padded + TAG_LEN;
    out.commit(size, endpoint);
    this.txBytes += size;
    timers.anyAuthenticatedPacketTraversal(now);
    timers.anyAuthenticatedPacketSent();
    if (length > 0) timers.dataSent(now);
    this.#keepKeyFreshSending(keypair);
  }

  /** Sends a packet without content, or begins a handshake when there is no session. */
  sendKeepalive(): void {
    const keypair = this.sendingKeypair();
    if (keypair === undefined) this.sendInitiation(false);
    else if (this.#staged.length > 0) this.#sendStaged(keypair);
    else this.#sendCopy(keypair, EMPTY);
  }

  /** Sends an initiation, unless a handshake message was sent less than 5 s ago (paper 6.4). */
  sendInitiation(retry: boolean): void {
    const context = this.#context;
    const { now, timing, counters } = context;
    if (this.#closed) return;
    if (!retry) this.timers.handshakeWanted();
    if (now - this.#lastHandshakeSent < timing.rekeyTimeoutMs) {
      this.timers.handshakeDeferred(this.#lastHandshakeSent);
      return;
    }
    this.#lastHandshakeSent = now;
    this.timers.handshakeInitiated(now);
    if (this.endpoint === undefined) {
      counters.noEndpoint++;
      return;
    }
    this.#freeHandshakeIndex();
    const index = this.#newIndex();
    this.#handshakeIndex = index;
    context.handshakes.set(index, this);
    // Two initiations within one millisecond still differ.
    context.lastTimestamp = Math.max(now, context.lastTimestamp + 1);
    const message = this.handshake.createInitiation(index, tai64n(context.lastTimestamp));
    this.#sendHandshake(message);
  }

  /** Takes an initiation and answers it. */
  consumeInitiation(
    opened: OpenedInitiation,
    message: Uint8Array,
    names: Uint8Array,
    nameAt: number,
  ): void {
    const context = this.#context;
    const { now, counters } = context;
    if (now - this.#lastInitiationTaken < INITIATION_INTERVAL_MS) {
      opened.state.wipe();
      counters.flood++;
      return;
    }
    const fault = this.handshake.consumeInitiation(opened, message);
    if (fault !== undefined) {
      if (fault === "forged") counters.badHandshake++;
      else counters.replayedInitiation++;
      return;
    }
    this.#lastInitiationTaken = now;
    const roamed = this.authenticated(message.length, names, nameAt);
    const index = this.#newIndex();
    const response = this.handshake.createResponse(index);
    if (response === undefined) {
      counters.badHandshake++;
      return;
    }
    this.#lastHandshakeSent = now;
    this.#begin(response.keys, index, false);
    this.#sendHandshake(response.message);
    if (roamed) this.tell("roamed");
  }

  /** Takes a response to our initiation: the session can be used at once. */
  consumeResponse(message: Uint8Array, names: Uint8Array, nameAt: number): void {
    const keys = this.handshake.consumeResponse(message);
    if (keys === undefined) {
      this.#context.counters.badHandshake++;
      return;
    }
    const roamed = this.authenticated(message.length, names, nameAt);
    const index = this.#handshakeIndex ?? 0;
    this.#freeHandshakeIndex();
    this.#begin(keys, index, true);
    this.#established();
    if (roamed) this.tell("roamed");
    this.tell("handshake");
    // The responder may only send when it has received something.
    this.sendKeepalive();
  }

  /** Takes a cookie reply to our last handshake message; the next one will carry the proof. */
  consumeCookieReply(message: Uint8Array): void {
    if (!this.cookies.consumeReply(message, this.#context.now)) {
      this.#context.counters.badHandshake++;
    }
  }

  /**
   * A message of this peer was authenticated: counts it and follows its sender (paper 2.1).
   *
   * @returns Whether the peer is somewhere else than before.
   */
  authenticated(length: number, names: Uint8Array, nameAt: number): boolean {
    const { now } = this.#context;
    this.rxBytes += length;
    this.timers.anyAuthenticatedPacketReceived();
    this.timers.anyAuthenticatedPacketTraversal(now);
    const known = this.endpoint;
    if (known?.equalsSockaddr(names, nameAt)) return false;
    this.endpoint = Endpoint.fromSockaddr(names, nameAt);
    return known !== undefined;
  }

  /** Tells the device's owner; it may do anything, even remove this peer. */
  tell(kind: PeerEvent): void {
    if (this.endpoint) this.#context.onEvent(this.publicKey, kind, this.endpoint);
  }

  /** A packet was opened with `keypair`: confirms the session when it is its first one. */
  receivedWith(keypair: Keypair<Peer>, hasContent: boolean): void {
    const { now } = this.#context;
    if (this.#keypairs.confirm(keypair)) {
      this.#established();
      if (this.#staged.length > 0) this.#sendStaged(keypair);
      this.tell("handshake");
    }
    this.#keepKeyFreshReceiving();
    if (hasContent) this.timers.dataReceived(now);
  }

  /** Does what is due. */
  tick(): void {
    const { now } = this.#context;
    const actions = this.timers.expire(now);
    if (actions === 0) return;
    if (actions & ACTION.wipe) this.#wipeSessions();
    if (actions & ACTION.giveUp) this.#dropStaged();
    if (actions & ACTION.retry) this.sendInitiation(true);
    if (actions & ACTION.initiate) this.sendInitiation(false);
    if (actions & ACTION.keepalive) {
      this.sendKeepalive();
      this.timers.keepaliveSent(now);
    }
  }

  /** Forgets everything; the peer is not used afterwards. */
  close(): void {
    this.#closed = true;
    this.#wipeSessions();
    this.#dropStaged();
    this.timers.clear();
    this.cookies.wipe();
    this.handshake.wipe();
  }

  #established(): void {
    this.timers.handshakeComplete();
    this.#lastMinuteHandshake = false;
    this.lastHandshakeMs = this.#context.now;
  }

  /** Turns the keys of a handshake into a session. */
  #begin(keys: SessionKeys, index: number, isInitiator: boolean): void {
    const { suite, now } = this.#context;
    this.#keypairs.begin(new Keypair<Peer>(this, suite, keys, index, isInitiator, now));
    this.timers.sessionDerived(now);
  }

  #keepKeyFreshSending(keypair: Keypair<Peer>): void {
    const { now, timing } = this.#context;
    if (
      keypair.sendCounter >= timing.rekeyAfterMessages ||
      (keypair.isInitiator && now - keypair.createdAt >= timing.rekeyAfterMs)
    ) this.sendInitiation(false);
  }

  /** Paper 6.2: who only receives, and began the session, sees to a new one before it ends. */
  #keepKeyFreshReceiving(): void {
    const keypair = this.#keypairs.current;
    if (this.#lastMinuteHandshake || keypair === undefined || !keypair.isInitiator) return;
    const { now, timing } = this.#context;
    const lastMoment = timing.rejectAfterMs - timing.keepaliveTimeoutMs - timing.rekeyTimeoutMs;
    if (now - keypair.createdAt < lastMoment) return;
    this.#lastMinuteHandshake = true;
    this.sendInitiation(false);
  }

  #sendHandshake(message: Uint8Array): void {
    const { out, now, counters } = this.#context;
    this.cookies.addMacs(message, now);
    if (this.endpoint === undefined) return;
    const at = out.reserve(message.length);
    if (at < 0) {
      counters.outFull++;
      return;
    }
    out.buffer.set(message, at);
    out.commit(message.length, this.endpoint);
    this.txBytes += message.length;
    this.timers.anyAuthenticatedPacketTraversal(now);
    this.timers.anyAuthenticatedPacketSent();
  }

  #sendStaged(keypair: Keypair<Peer>): void {
    for (const packet of this.#staged.splice(0)) this.#sendCopy(keypair, packet);
  }

  #sendCopy(keypair: Keypair<Peer>, packet: Uint8Array): void {
    const { out, counters } = this.#context;
    const at = out.reserve(sealedLength(packet.length));
    if (at < 0) {
      counters.outFull++;
      return;
    }
    out.buffer.set(packet, at + TRANSPORT_HEADER_LEN);
    this.transmit(keypair, at + TRANSPORT_HEADER_LEN, packet.length);
  }

  /** A random index that is not in use. */
  #newIndex(): number {
    const { handshakes, sessions, identity } = this.#context;
    for (;;) {
      const [a = 0, b = 0, c = 0, d = 0] = identity.random(4);
      const index = a | (b << 8) | (c << 16) | (d << 24);
      if (!handshakes.has(index) && !sessions.has(index)) return index;
    }
  }

  #freeHandshakeIndex(): void {
    if (this.#handshakeIndex !== undefined) {
      this.#context.handshakes.delete(this.#handshakeIndex);
    }
    this.#handshakeIndex = undefined;
  }

  #wipeSessions(): void {
    this.#keypairs.wipe();
    this.#freeHandshakeIndex();
    this.handshake.clear();
  }

  #dropStaged(): void {
    this.#context.counters.stagedDropped += this.#staged.length;
    this.#staged.length = 0;
  }
}

const EMPTY = new Uint8Array(0);
