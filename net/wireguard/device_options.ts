/**
 * What goes into a device and what it shows of its peers.
 *
 * @module
 */

import type { Endpoint } from "../os/endpoint.ts";
import type { DatagramSink, PacketSink } from "../os/sink.ts";
import type { Ipv4Prefix } from "../wire/ip_address.ts";
import type { Timing } from "./constants.ts";
import type { CryptoSuite } from "./crypto.ts";

/** What happened to a peer: it has a new session, or it is heard from somewhere else. */
export type PeerEvent = "handshake" | "roamed";

/** What a device is made of. */
export interface DeviceOptions {
  /** X25519 private key, 32 bytes; copied. */
  readonly privateKey: Uint8Array;
  /** Where WireGuard messages go. A reservation that is not committed is simply made again. */
  readonly out: DatagramSink;
  /** Where decrypted IP packets are written. */
  readonly inner: PacketSink;
  /** The time, in ms since 1970. */
  readonly now: number;
  /** What to compute with. @default {FASTEST_SUITE} */
  readonly suite?: CryptoSuite;
  /** Cryptographically random bytes in a fresh array. @default {crypto.getRandomValues} */
  readonly random?: (length: number) => Uint8Array;
  /** Told when a session is there, and when a peer's address has changed. Must not throw. */
  readonly onEvent?: (publicKey: Uint8Array, kind: PeerEvent, endpoint: Endpoint) => void;
  /** Inner MTU in bytes, which padding does not exceed. @default {1420} */
  readonly mtu?: number;
  /** Times of the protocol; for tests. @default {SPECIFIED_TIMING} */
  readonly timing?: Partial<Timing>;
  /** Handshake messages per second above which cookies are asked for. @default {250} */
  readonly handshakesPerSecond?: number;
}

/** What `Device.addPeer` takes. */
export interface PeerOptions {
  /** X25519 public key, 32 bytes. */
  readonly publicKey: Uint8Array;
  /** Shared secret on top of the handshake, 32 bytes. */
  readonly presharedKey?: Uint8Array;
  /** Where to send until the peer is heard from elsewhere. Without it the peer must begin. */
  readonly endpoint?: Endpoint;
  /** Inner addresses that are the peer's: as source of what it sends, as destination towards it. */
  readonly allowedIps: readonly Ipv4Prefix[];
  /** Interval of persistent keepalives in s; 0 is off. @default {0} */
  readonly keepaliveSeconds?: number;
}

/** A peer as `Device.stats` shows it. */
export interface PeerStats {
  /** X25519 public key, 32 bytes. */
  readonly publicKey: Uint8Array;
  /** Where it was heard from last, or where it was said to be. */
  readonly endpoint: Endpoint | undefined;
  /** Its inner addresses. */
  readonly allowedIps: readonly Ipv4Prefix[];
  /** Interval of persistent keepalives in s; 0 is off. */
  readonly keepaliveSeconds: number;
  /** Bytes of authenticated UDP payload received from it. */
  readonly rxBytes: number;
  /** Bytes of UDP payload sent to it. */
  readonly txBytes: number;
  /** When the last session began, in ms since 1970; undefined when there was none. */
  readonly lastHandshakeMs: number | undefined;
  /** Packets that wait for a session. */
  readonly staged: number;
}
