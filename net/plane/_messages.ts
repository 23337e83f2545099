/**
 * What the main thread and the packet thread say to each other. Addresses travel as the bytes of a
 * `sockaddr_in6`, errors as their parts: classes do not cross threads.
 *
 * @module
 */

import { type ExitCode, messageOf, OmertaError } from "../../lib/core/errors.ts";
import type { RefusedFrame } from "../filter/refusals.ts";
import type { RogueAlarm, RogueLimits } from "../filter/rogue.ts";
import type { FilterMode } from "../filter/strategy.ts";
import type { RehearsedFrame } from "../filter/rehearsal.ts";
import type { TcpAddress } from "../os/stream_socket.ts";
import type { SocksCredentials } from "../proxy/socks5.ts";
import type { PingAnswer } from "../tcp/ping.ts";
import type { KernelGuest } from "./kernel_leftovers.ts";
import type { PlaneStats } from "./stats.ts";

/** Settings of a TUN device. */
export interface TunSettings {
  /** Name of the interface, e.g. `omerta0`. */
  readonly name: string;
  /** Address with prefix length, e.g. `10.0.0.1/16`. */
  readonly address: string;
  /** Largest packet, in bytes. @default {1400} */
  readonly mtu?: number;
}

/** A way into the tunnels; see proxies.ts. */
export type ProxySettings =
  | {
    /** The unix socket of `omerta nc`. */
    readonly kind: "pipe";
    /** Its path. */
    readonly path: string;
  }
  | {
    /** A port of this computer that leads inside. */
    readonly kind: "forward";
    /** Where to listen; port 0 picks one. */
    readonly listen: TcpAddress;
    /** Name or IPv4 address inside. */
    readonly host: string;
    /** Port inside. */
    readonly port: number;
  }
  | {
    /** A port inside, at this node's own address, that leads to this computer. */
    readonly kind: "reverse";
    /** Port inside. */
    readonly port: number;
    /** Where it leads. */
    readonly to: TcpAddress;
  }
  | {
    /** A SOCKS5 server. */
    readonly kind: "socks";
    /** Where to listen; port 0 picks one. */
    readonly listen: TcpAddress;
    /** Who may use it; undefined: everybody who reaches it. */
    readonly credentials: SocksCredentials | undefined;
  };

/** The first message: what the packet thread is made of. */
export interface StartMessage {
  /** UDP port; 0 picks one. */
  readonly port: number;
  /** X25519 private key, 32 bytes. */
  readonly privateKey: Uint8Array;
  /** The TUN device to begin with. */
  readonly tun: TunSettings | undefined;
  /** Descriptor that wakes the packet thread, or -1. */
  readonly wakeFd: number;
  /** Memory of `SHARED` in gate.ts. */
  readonly shared: SharedArrayBuffer;
}

/** What the main thread asks for. */
export type Command =
  | { readonly kind: "start"; readonly start: StartMessage }
  | { readonly kind: "send"; readonly datagram: Uint8Array; readonly to: Uint8Array }
  | { readonly kind: "open-tun"; readonly tun: TunSettings }
  | { readonly kind: "open-stack"; readonly address: string; readonly mtu: number }
  | { readonly kind: "set-names"; readonly names: readonly (readonly [string, string])[] }
  | { readonly kind: "open-proxy"; readonly id: string; readonly settings: ProxySettings }
  | { readonly kind: "close-proxy"; readonly id: string }
  | { readonly kind: "ping"; readonly host: string; readonly timeoutMs: number }
  | {
    readonly kind: "greet";
    readonly host: string;
    readonly port: number;
    readonly timeoutMs: number;
  }
  | {
    readonly kind: "add-peer";
    readonly publicKey: Uint8Array;
    readonly presharedKey: Uint8Array | undefined;
    readonly endpoint: Uint8Array | undefined;
    readonly allowedIps: readonly string[];
    readonly keepaliveSeconds: number;
  }
  | { readonly kind: "remove-peer"; readonly publicKey: Uint8Array }
  | {
    readonly kind: "add-guest";
    readonly id: string;
    readonly cablePath: string;
    readonly guestPath: string;
    readonly mac: string;
    readonly publicKey: Uint8Array;
    readonly uplink: Uint8Array;
    readonly mode: FilterMode;
    readonly sampleRate: number;
    readonly rogue: RogueLimits;
  }
  | { readonly kind: "set-uplink"; readonly id: string; readonly uplink: Uint8Array }
  | { readonly kind: "remove-guest"; readonly id: string }
  | { readonly kind: "rehearse"; readonly id: string; readonly frames: readonly Uint8Array[] }
  | {
    readonly kind: "add-relay";
    readonly id: string;
    readonly client: Uint8Array;
    readonly publicKey: Uint8Array;
    readonly uplink: Uint8Array;
  }
  | { readonly kind: "remove-relay"; readonly id: string }
  | {
    readonly kind: "set-kernel-guest";
    readonly id: string;
    readonly guest: Omit<KernelGuest, "uplink"> & { readonly uplink: Uint8Array } | undefined;
  }
  | { readonly kind: "stats" }
  | { readonly kind: "refused-frames"; readonly id: string }
  | { readonly kind: "close" };

/** A command with the number that its answer carries; 0 wants none. */
export interface CommandMessage {
  /** Number of the answer. */
  readonly ticket: number;
  /** What to do. */
  readonly command: Command;
}

/** What a command gives back. */
export type Answer =
  | { readonly kind: "done" }
  | { readonly kind: "started"; readonly port: number; readonly tunName: string | undefined }
  | { readonly kind: "stats"; readonly stats: PlaneStats }
  | { readonly kind: "refused-frames"; readonly frames: readonly RefusedFrame[] }
  | { readonly kind: "proxy-opened"; readonly port: number }
  | { readonly kind: "proxy-closed"; readonly existed: boolean }
  | { readonly kind: "pinged"; readonly answer: PingAnswer }
  | { readonly kind: "greeted"; readonly line: string | undefined }
  | { readonly kind: "rehearsed"; readonly frames: readonly RehearsedFrame[] }
  | { readonly kind: "error"; readonly error: ErrorParts };

/** What happens without being asked for. */
export type PlaneEvent =
  | { readonly kind: "control"; readonly datagram: Uint8Array; readonly from: Uint8Array }
  | {
    readonly kind: "peer";
    readonly publicKey: Uint8Array;
    readonly what: "handshake" | "roamed";
    readonly endpoint: Uint8Array;
  }
  | {
    readonly kind: "refused";
    readonly id: string;
    readonly reason: string;
    readonly count: number;
  }
  | { readonly kind: "violation"; readonly id: string; readonly reason: string }
  | { readonly kind: "rogue"; readonly id: string; readonly alarm: RogueAlarm };

/** Everything the packet thread posts. */
export type PlaneMessage =
  | { readonly kind: "hello" }
  | { readonly kind: "answer"; readonly ticket: number; readonly answer: Answer }
  | { readonly kind: "event"; readonly event: PlaneEvent }
  | { readonly kind: "failed"; readonly error: ErrorParts }
  | { readonly kind: "closed" };

/** An error, taken apart. */
export interface ErrorParts {
  /** Stable identifier. */
  readonly code: string;
  /** Message. */
  readonly message: string;
  /** Exit code of a command that ends with it. */
  readonly exit: ExitCode;
  /** What the user can do next. */
  readonly next: string | undefined;
}

/** Takes an error apart. */
export function partsOf(error: unknown): ErrorParts {
  if (error instanceof OmertaError) {
    return { code: error.code, message: error.message, exit: error.exit, next: error.next };
  }
  return {
    code: "plane-failed",
    message: `Cannot go on carrying packets: ${messageOf(error)}`,
    exit: 1,
    next: undefined,
  };
}

/** Puts an error together again. */
export function errorOf(parts: ErrorParts): OmertaError {
  return new OmertaError(parts.code, parts.message, {
    exit: parts.exit,
    ...(parts.next === undefined ? {} : { next: parts.next }),
  });
}
