/**
 * What stream sockets of this computer look like from above: TCP and unix sockets, for a loop that
 * waits for many of them at once.
 *
 * ```
 * using streams = openStreams();
 * reactor.add(streams, () => streams.serve());
 * const listener = streams.listen({ kind: "tcp", address: "127.0.0.1", port: 0 }, onConnection);
 * const socket = streams.connect({ kind: "unix", path }, owner);   // or the fault, in a word
 * ```
 *
 * No call waits, and none makes a promise. A socket tells its owner what it is watched for, for as
 * long as that lasts: whoever stops before everything is read or written is told again, and whoever
 * cannot go on stops watching.
 *
 * @module
 */

import { EXIT, messageOf, OmertaError } from "../../lib/core/errors.ts";
import type { Watchable } from "./packet_socket.ts";

/** Where to listen or to connect to. */
export type StreamAddress = TcpAddress | UnixAddress;

/** An address and port of TCP. */
export interface TcpAddress {
  /** Which kind. */
  readonly kind: "tcp";
  /** IPv4 or IPv6 literal. */
  readonly address: string;
  /** Port; 0 picks a free one to listen on. */
  readonly port: number;
}

/** A socket in the file system. */
export interface UnixAddress {
  /** Which kind. */
  readonly kind: "unix";
  /** Path, at most {@link UNIX_PATH_MAX} bytes. */
  readonly path: string;
}

/** Longest path of a unix socket, in bytes: every system takes that and two more. */
export const UNIX_PATH_MAX = 101;

/** What `read` and `write` of a {@link StreamSocket} say instead of a number of bytes. */
export const STREAM = {
  /** The other side has sent its last byte. */
  end: -1,
  /** The socket has failed; `fault` says how. */
  error: -2,
} as const;

/** Why a socket failed, or was not connected. */
export type StreamFault =
  /** Nobody listens there. */
  | "refused"
  /** There is no way there. */
  | "unreachable"
  /** No answer came. */
  | "timeout"
  /** The other side has reset it, or takes nothing any more. */
  | "reset"
  /** This process, or this computer, may open no more descriptors. */
  | "no-descriptors"
  /** The address is no literal, no port, or too long a path. */
  | "bad-address"
  /** Anything else. */
  | "failed";

/** Who is told about a socket. One object may own many. */
export interface StreamOwner {
  /**
   * Called by `Streams.serve` when the socket can be read or written, as watched, when it was
   * connected, and when it failed. It may do anything, closing this socket and others included.
   */
  onStream(socket: StreamSocket): void;
}

/** One connection. Reading and writing are watched for separately; at first neither is. */
export interface StreamSocket extends Disposable {
  /** Who is told; none: nobody. */
  owner: StreamOwner | undefined;
  /** Whether it is not connected yet: the owner is told when it is, or when that has failed. */
  readonly connecting: boolean;
  /** The other side's address, when that is one of IP; undefined otherwise, and when it is gone. */
  readonly remoteAddress: string | undefined;
  /** The address here that the other side reached, or was reached from; undefined as above. */
  readonly localAddress: string | undefined;
  /** How it failed; undefined: it did not. */
  readonly fault: StreamFault | undefined;
  /** Tells the owner when there is something to read, and when `write` takes bytes. */
  watch(read: boolean, write: boolean): void;
  /**
   * Moves bytes that have arrived to `into[at..]`: how many, 0 when there are none now,
   * `STREAM.end` or `STREAM.error`. `length` is not 0.
   */
  read(into: Uint8Array<ArrayBuffer>, at: number, length: number): number;
  /** Takes bytes of `from[at..]`: how many, 0 when it is full, or `STREAM.error`. */
  write(from: Uint8Array<ArrayBuffer>, at: number, length: number): number;
  /** Says that nothing more will be written. Reading goes on. */
  shutdownWrite(): void;
  /**
   * Closes it, so that the other side sees a reset instead of an end. A unix socket has no reset,
   * and without FFI there is none: it is then closed as by {@link Symbol.dispose}.
   */
  abort(): void;
  /** Closes it; what was written goes out. A second time does nothing. */
  [Symbol.dispose](): void;
}

/** Waits for connections. Nothing is told until it is watched. */
export interface StreamListener extends Disposable {
  /** Port; 0 for a unix socket. */
  readonly port: number;
  /** Whether the last {@link accept} found that no more descriptors may be opened. */
  readonly exhausted: boolean;
  /** Tells when there is a connection to accept. */
  watch(on: boolean): void;
  /** The next connection, without owner and unwatched; undefined when there is none now. */
  accept(): StreamSocket | undefined;
  /** Closes it; the file of a unix socket is removed. Connections stay. */
  [Symbol.dispose](): void;
}

/** All stream sockets of a loop: one source for its reactor, however many there are. */
export interface Streams extends Watchable, Disposable {
  /**
   * Listens. A unix socket is for its user only (mode 0600); one that is at the path already is
   * replaced, so the folder must be the caller's own.
   *
   * @param onConnection Called when there are connections to accept, while the listener is watched.
   * @throws {OmertaError} `port-in-use`, `listen-failed`.
   */
  listen(address: StreamAddress, onConnection: () => void): StreamListener;
  /** Connects; the fault when that is plain at once. */
  connect(address: StreamAddress, owner: StreamOwner): StreamSocket | StreamFault;
  /**
   * Watches a source of packets with the sockets: `ready` is called by {@link serve} while it has any,
   * and may do anything. What comes back ends that, and is disposed of before the source.
   *
   * @returns Undefined when the kernel can wait for no more.
   */
  add(source: Watchable, ready: () => void): Disposable | undefined;
  /** Gives those that are ready their turn, each at most once. Never waits. */
  serve(): void;
  /** Ends the waiting; every socket and listener must be closed before. */
  [Symbol.dispose](): void;
}

/** `127.0.0.1:80`, `[::1]:80`, or a path. */
export function streamAddressText(address: StreamAddress): string {
  if (address.kind === "unix") return address.path;
  const host = address.address.includes(":") ? `[${address.address}]` : address.address;
  return `${host}:${address.port}`;
}

/** The error for an address that somebody else listens on. */
export function streamInUse(address: StreamAddress, cause?: unknown): OmertaError {
  const port = address.kind === "tcp" ? address.port : 0;
  return new OmertaError(
    "port-in-use",
    `Cannot listen on ${streamAddressText(address)}: another program uses it`,
    {
      next: port === 0
        ? "Stop the other program"
        : `Stop the other program ("ss -tlpn sport = :${port}" names it), or choose another port`,
      ...(cause === undefined ? {} : { cause }),
    },
  );
}

/** What the system says of an address and port, in words, and what its user can do about it. */
const LISTEN_FAULTS: Readonly<Record<string, { readonly why: string; readonly next: string }>> = {
  EACCES: {
    why: "this user may not use that port",
    next: "Choose a port above 1023",
  },
  EADDRNOTAVAIL: {
    why: "this computer does not have that address",
    next: 'Choose one that it has ("ip address" names them), or 127.0.0.1',
  },
  // What it says of fe80::1 without an interface, for which an address here has no room.
  EINVAL: {
    why: "the system takes no such address to listen on",
    next: "Choose one that is neither link-local nor multicast, or 127.0.0.1",
  },
};

/**
 * The error for an address that cannot be listened on.
 *
 * @param code What the system calls the reason, as in `EACCES`.
 * @param cause What says it in words, for a code that is not known here.
 */
export function listenFailed(address: StreamAddress, code: string, cause?: unknown): OmertaError {
  const fault = address.kind === "tcp" ? LISTEN_FAULTS[code] : undefined;
  const why = fault?.why ?? (cause === undefined ? code : messageOf(cause));
  return new OmertaError(
    "listen-failed",
    `Cannot listen on ${streamAddressText(address)}: ${why}`,
    {
      exit: code === "EACCES" ? EXIT.missing : EXIT.failed,
      next: fault?.next ?? nextFor(address),
      ...(cause === undefined ? {} : { cause }),
    },
  );
}

function nextFor(address: StreamAddress): string {
  return address.kind === "tcp"
    ? "Choose another address or port"
    : "See that its folder is there and may be written to";
}

/** The error for an address that is none. */
export function noAddress(address: StreamAddress): OmertaError {
  const why = address.kind === "unix"
    ? `want a path of 1 to ${UNIX_PATH_MAX} bytes`
    : "want an IPv4 or IPv6 address and a port from 0 to 65535";
  return new OmertaError(
    "listen-failed",
    `Cannot listen on ${streamAddressText(address)}: ${why}`,
    {
      exit: EXIT.usage,
    },
  );
}
