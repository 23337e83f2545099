/**
 * A WireGuard device: {@link https://www.wireguard.com/papers/wireguard.pdf}. It has no socket and
 * no clock. UDP payloads go in by {@link Device.receive} and come out inside `inner` as IP packets;
 * IP packets go in by {@link Device.outbound} and come out in `out` as UDP payloads; time goes in
 * with every call.
 *
 * ```
 *             receive()                                   outbound.reserve(), commit()
 *  socket ---------------> open -> allowed IP? -> inner    inner ----> route -> seal -> out ---> socket
 * ```
 *
 * What its owner does, for each burst: `receive` every datagram and feed every packet, `tick`,
 * then flush `out` and `inner`. The time is that of the last `receive`, `tick` or `setNow`: one of
 * them is called at least once per burst, before packets are fed to `outbound`. It is in ms since
 * 1970, because initiations carry it and those of a restarted device must be later than before. When
 * the clock is set back, the device's own time goes on from where it was.
 *
 * With libcrypto no array, view or object is made for a packet of a running session, and nothing on
 * the packet path throws.
 * Everything that is not done is counted in {@link Device.counters}.
 *
 * @module
 */

import { OmertaError } from "../../lib/core/errors.ts";
import { Endpoint } from "../os/endpoint.ts";
import type { PacketSink } from "../os/sink.ts";
import { readU16, readU32 } from "../wire/bytes.ts";
import { IPV4_HEADER_LEN, IPV4_SOURCE, IPV4_TOTAL_LENGTH } from "../wire/ipv4.ts";
import { isIpv4, Outbound } from "./_outbound.ts";
import { type Context, Peer } from "./_peer.ts";
import { AllowedIps } from "./allowed_ips.ts";
import { DEFAULT_MTU, MAX_PEERS, SPECIFIED_TIMING } from "./constants.ts";
import { CookieIssuer } from "./cookie.ts";
import { DeviceCounters } from "./counters.ts";
import { KEY_LEN, TAG_LEN } from "./crypto.ts";
import type { DeviceOptions, PeerOptions, PeerStats } from "./device_options.ts";
import { Handshake, openInitiation } from "./handshake.ts";
import { LoadMeter } from "./load.ts";
import { Mac1Check } from "./mac1.ts";
import {
  COOKIE_REPLY,
  INITIATION,
  messageType,
  readCounter,
  readIndex,
  RESPONSE,
  TRANSPORT,
  TRANSPORT_HEADER_LEN,
} from "./messages.ts";
import { RateLimiter } from "./rate_limiter.ts";
import { FASTEST_SUITE } from "./suite.ts";

export type { DeviceOptions, PeerEvent, PeerOptions, PeerStats } from "./device_options.ts";

/** Offset of the receiver's index in everything but a response and an initiation. */
const RECEIVER = 4;
const RESPONSE_RECEIVER = 8;
const COUNTER = 8;

const NO_ROOM = new Uint8Array(0);

/** One interface with one key and many peers. */
export class Device implements Disposable {
  /** Our public key, 32 bytes. */
  readonly publicKey: Uint8Array;
  /** Takes IP packets, which are sealed in place, in the buffer of `out`. */
  readonly outbound: PacketSink;
  /** What was dropped, and why. */
  readonly counters: DeviceCounters = new DeviceCounters();

  readonly #context: Context;
  readonly #inner: PacketSink;
  readonly #peers = new Map<string, Peer>();
  readonly #routes = new AllowedIps<Peer>();
  readonly #mac1: Mac1Check;
  readonly #cookies: CookieIssuer;
  readonly #load: LoadMeter;
  readonly #limiter = new RateLimiter();
  /** What the caller's clock said last; the device's own time is never behind it. */
  #clock: number;
  #closed = false;

  /**
   * A device without peers.
   *
   * @throws {OmertaError} `bad-key` when the private key is not 32 bytes.
   */
  constructor(options: DeviceOptions) {
    checkKey(options.privateKey, "private key");
    const suite = options.suite ?? FASTEST_SUITE;
    const random = options.random ?? randomBytes;
    const key = suite.dh.key(options.privateKey);
    this.publicKey = key.publicKey;
    this.#inner = options.inner;
    this.#clock = options.now;
    this.#context = {
      suite,
      identity: { key, dh: suite.dh, random },
      out: options.out,
      timing: { ...SPECIFIED_TIMING, ...options.timing },
      schedule: { due: Infinity },
      counters: this.counters,
      handshakes: new Map(),
      sessions: new Map(),
      mtu: options.mtu ?? DEFAULT_MTU,
      onEvent: options.onEvent ?? ((): void => {}),
      now: options.now,
      lastTimestamp: 0,
    };
    this.#mac1 = new Mac1Check(key.publicKey);
    this.#cookies = new CookieIssuer(key.publicKey, random);
    this.#load = new LoadMeter(options.handshakesPerSecond);
    this.outbound = new Outbound(this.#context, (address) => this.#routes.lookup(address));
  }

  /** Sets the time, in ms since 1970, for what follows. */
  setNow(now: number): void {
    const passed = now - this.#clock;
    this.#clock = now;
    if (passed > 0) this.#context.now += passed;
  }

  /**
   * Adds a peer. One with this key that is there already is changed instead: everything is
   * replaced, except that its session goes on and its endpoint stays when none is given. An
   * allowed IP that another peer has moves to this one.
   *
   * @throws {OmertaError} `bad-key` when a key is not 32 bytes, is of low order or is our own;
   * `too-many-peers`; `device-closed`.
   */
  addPeer(options: PeerOptions): void {
    const { publicKey, presharedKey, endpoint, allowedIps, keepaliveSeconds = 0 } = options;
    if (this.#closed) throw new OmertaError("device-closed", "Cannot add a peer: device is closed");
    checkKey(publicKey, "public key");
    if (presharedKey) checkKey(presharedKey, "preshared key");
    const name = publicKey.toHex();
    const peer = this.#peers.get(name) ?? this.#newPeer(publicKey.slice());
    this.#peers.set(name, peer);
    peer.handshake.setPresharedKey(presharedKey);
    if (endpoint) peer.endpoint = endpoint;
    peer.allowedIps = [...allowedIps];
    peer.keepaliveSeconds = keepaliveSeconds;
    peer.timers.persistentKeepaliveSet(keepaliveSeconds, this.#context.now);
    this.#routes.remove(peer);
    for (const prefix of allowedIps) {
      const before = this.#routes.set(prefix, peer);
      if (before === undefined || before === peer) continue;
      before.allowedIps = before.allowedIps.filter(({ address, bits }) =>
        address !== prefix.address || bits !== prefix.bits
      );
    }
  }

  /** Forgets a peer, its keys and the packets that wait for it. Nothing when there is none. */
  removePeer(publicKey: Uint8Array): void {
    const name = publicKey.toHex();
    const peer = this.#peers.get(name);
    if (peer === undefined) return;
    this.#peers.delete(name);
    this.#routes.remove(peer);
    peer.close();
  }

  /** Whether packets to this address, unsigned 32 bits, go to a peer, or to the one with this key. */
  leadsTo(address: number, key?: Uint8Array): boolean {
    const peer = this.#routes.lookup(address);
    return peer !== undefined && (key === undefined || peer === this.#peers.get(key.toHex()));
  }

  /** All peers, in the order they were added. */
  stats(): readonly PeerStats[] {
    return Array.from(this.#peers.values(), (peer) => ({
      publicKey: peer.publicKey.slice(),
      endpoint: peer.endpoint,
      allowedIps: peer.allowedIps,
      keepaliveSeconds: peer.keepaliveSeconds,
      rxBytes: peer.rxBytes,
      txBytes: peer.txBytes,
      lastHandshakeMs: peer.lastHandshakeMs,
      staged: peer.staged,
    }));
  }

  /**
   * Does what is due at `now`: retries, keepalives, wiping.
   *
   * @returns When it wants to be called again, in ms since 1970; Infinity when nothing is waited for.
   */
  tick(now: number): number {
    this.setNow(now);
    const { schedule } = this.#context;
    if (this.#context.now >= schedule.due) {
      for (const peer of this.#peers.values()) peer.tick();
      schedule.due = Infinity;
      for (const peer of this.#peers.values()) {
        schedule.due = Math.min(schedule.due, peer.timers.due);
      }
    }
    return schedule.due - this.#context.now + this.#clock;
  }

  /**
   * Takes one UDP payload: `length` bytes at `at`, sent by the `struct sockaddr_in6` at `nameAt` of
   * `names`. Never throws. `buffer` is only read, and only during the call.
   */
  receive(
    buffer: Uint8Array,
    at: number,
    length: number,
    names: Uint8Array,
    nameAt: number,
    now: number,
  ): void {
    this.setNow(now);
    if (this.#closed) return;
    switch (messageType(buffer, at, length)) {
      case TRANSPORT:
        return this.#receiveTransport(buffer, at, length, names, nameAt);
      case INITIATION:
      case RESPONSE:
        return this.#receiveHandshake(buffer, at, length, names, nameAt);
      case COOKIE_REPLY:
        return this.#receiveCookieReply(buffer.subarray(at, at + length));
      default:
        this.counters.malformed++;
    }
  }

  /** Wipes all keys and forgets all peers. The device does nothing afterwards. */
  close(): void {
    this.#closed = true;
    for (const peer of this.#peers.values()) peer.close();
    for (const peer of this.#peers.values()) this.#routes.remove(peer);
    this.#peers.clear();
    this.#cookies.wipe();
    this.#context.identity.key.wipe();
    this.#context.schedule.due = Infinity;
  }

  /** See {@link Device.close}. */
  [Symbol.dispose](): void {
    this.close();
  }

  #newPeer(publicKey: Uint8Array): Peer {
    if (this.#peers.size >= MAX_PEERS) {
      throw new OmertaError(
        "too-many-peers",
        `Cannot add a peer: there are ${this.#peers.size}, at most ${MAX_PEERS} are possible`,
      );
    }
    const handshake = publicKey.toHex() === this.publicKey.toHex()
      ? undefined
      : Handshake.with(this.#context.identity, publicKey);
    if (handshake === undefined) {
      throw new OmertaError("bad-key", "Cannot add a peer: its key is our own or of low order");
    }
    return new Peer(this.#context, publicKey, handshake);
  }

  #receiveTransport(
    buffer: Uint8Array,
    at: number,
    length: number,
    names: Uint8Array,
    nameAt: number,
  ): void {
    const { counters } = this;
    const { sessions, timing, now } = this.#context;
    const keypair = sessions.get(readIndex(buffer, at + RECEIVER));
    if (keypair === undefined) {
      counters.unknownIndex++;
      return;
    }
    const counter = readCounter(buffer, at + COUNTER);
    if (
      counter < 0 || counter >= timing.rejectAfterMessages ||
      now - keypair.createdAt >= timing.rejectAfterMs
    ) {
      counters.expired++;
      return;
    }
    if (!keypair.replay.isNew(counter)) {
      counters.replayed++;
      return;
    }
    const sealedAt = at + TRANSPORT_HEADER_LEN;
    const sealed = length - TRANSPORT_HEADER_LEN;
    const size = sealed - TAG_LEN;
    const inner = this.#inner;
    const innerAt = size === 0 ? 0 : inner.reserve(size);
    if (innerAt < 0) {
      counters.innerFull++;
      return;
    }
    const target = size === 0 ? NO_ROOM : inner.buffer;
    if (!keypair.opener.open(counter, buffer, sealedAt, sealed, target, innerAt)) {
      counters.badTag++;
      return;
    }
    keypair.replay.mark(counter);
    const peer = keypair.owner;
    const roamed = peer.authenticated(length, names, nameAt);
    if (size > 0) this.#deliver(peer, target, innerAt, size);
    if (roamed) peer.tell("roamed");
    peer.receivedWith(keypair, size > 0);
  }

  /** Hands over the packet of at most `size` bytes at `at`, if the peer may send it. */
  #deliver(peer: Peer, packet: Uint8Array, at: number, size: number): void {
    const total = readU16(packet, at + IPV4_TOTAL_LENGTH);
    if (!isIpv4(packet, at, size) || total < IPV4_HEADER_LEN || total > size) {
      this.counters.badInner++;
    } else if (this.#routes.lookup(readU32(packet, at + IPV4_SOURCE)) !== peer) {
      this.counters.wrongSource++;
    } else this.#inner.commit(total);
  }

  #receiveHandshake(
    buffer: Uint8Array,
    at: number,
    length: number,
    names: Uint8Array,
    nameAt: number,
  ): void {
    const { counters } = this;
    const { now, handshakes, identity } = this.#context;
    if (!this.#mac1.matches(buffer, at, length)) {
      counters.badMac1++;
      return;
    }
    const message = buffer.slice(at, at + length);
    if (this.#load.isUnderLoad(now)) {
      if (!this.#cookies.hasProof(message, names, nameAt, now)) {
        this.#sendCookie(message, names, nameAt);
        return;
      }
      if (!this.#limiter.allow(names, nameAt, now)) {
        counters.rateLimited++;
        return;
      }
    }
    if (message[0] === RESPONSE) {
      const peer = handshakes.get(readIndex(message, RESPONSE_RECEIVER));
      if (peer === undefined) counters.unknownIndex++;
      else peer.consumeResponse(message, names, nameAt);
      return;
    }
    const opened = openInitiation(identity, message);
    if (opened === undefined) {
      counters.badHandshake++;
      return;
    }
    const peer = this.#peers.get(opened.remoteStatic.toHex());
    if (peer === undefined) {
      opened.state.wipe();
      counters.unknownPeer++;
      return;
    }
    peer.consumeInitiation(opened, message, names, nameAt);
  }

  #receiveCookieReply(message: Uint8Array): void {
    const { handshakes, sessions } = this.#context;
    const index = readIndex(message, RECEIVER);
    // The reply may be to a response of ours too, and then the session is already derived.
    const peer = handshakes.get(index) ?? sessions.get(index)?.owner;
    if (peer === undefined) this.counters.unknownIndex++;
    else peer.consumeCookieReply(message);
  }

  #sendCookie(message: Uint8Array, names: Uint8Array, nameAt: number): void {
    const { out, now } = this.#context;
    const reply = this.#cookies.reply(message, names, nameAt, now);
    const at = out.reserve(reply.length);
    if (at < 0) {
      this.counters.outFull++;
      return;
    }
    this.counters.cookieSent++;
    out.buffer.set(reply, at);
    out.commit(reply.length, Endpoint.fromSockaddr(names, nameAt));
  }
}

function checkKey(key: Uint8Array, what: string): void {
  if (key.length === KEY_LEN) return;
  throw new OmertaError(
    "bad-key",
    `Cannot use a ${what} of ${key.length} bytes: need ${KEY_LEN}`,
  );
}

function randomBytes(length: number): Uint8Array {
  return crypto.getRandomValues(new Uint8Array(length));
}
