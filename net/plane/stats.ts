/**
 * What the packet thread tells about itself: plain data that crosses threads and prints as JSON.
 *
 * @module
 */

import type { FilterMode } from "../filter/strategy.ts";
import type { SocketCounters } from "../os/packet_socket.ts";

/** A socket's or device's counters. */
export type SocketStats = Readonly<{ [Name in keyof SocketCounters]: number }>;

/** One WireGuard peer of the node's own device. */
export interface PlanePeerStats {
  /** Public key, base64. */
  readonly publicKey: string;
  /** `address:port` it was heard from last, or was said to be at. */
  readonly endpoint: string | undefined;
  /** Inner addresses, `a.b.c.d/n`. */
  readonly allowedIps: readonly string[];
  /** Interval of persistent keepalives (s); 0 is off. */
  readonly keepaliveSeconds: number;
  /** Bytes received, authenticated. */
  readonly rxBytes: number;
  /** Bytes sent. */
  readonly txBytes: number;
  /** When the last session began, in ms since 1970. */
  readonly lastHandshakeMs: number | undefined;
}

/** One guest. */
export interface PlaneGuestStats {
  /** The id it was added with. */
  readonly id: string;
  /** Where its tunnel goes, `address:port`. */
  readonly uplink: string;
  /** How closely it is looked at. */
  readonly mode: FilterMode | "ebpf";
  /** Frames that were forwarded without being judged; none in mode `filtered`. */
  readonly unjudged: number;
  /** What went through its cable, as frames; undefined where that is an interface of the host. */
  readonly cable?: SocketStats;
  /** Payload bytes forwarded to the uplink. */
  readonly bytesToUplink: number;
  /** Payload bytes forwarded to the guest. */
  readonly bytesToGuest: number;
  /** Frames from the guest by what became of them: `forwarded`, `answered`, and the refusals. */
  readonly fromGuest: Readonly<Record<string, number>>;
  /** Datagrams for the guest by what became of them. */
  readonly fromUplink: Readonly<Record<string, number>>;
  /**
   * When the guest last sent what only comes from a tunnel with a session (data, keepalives, answers
   * to handshakes), in ms since 1970; undefined before the first.
   */
  readonly sessionFromGuestMs: number | undefined;
  /** The same of what was forwarded to the guest. */
  readonly sessionToGuestMs: number | undefined;
}

/** A way into the tunnels: for `omerta nc`, a forwarded port, SOCKS5. Numbers only grow. */
export interface ProxyStats {
  /** The id it was opened with. */
  readonly id: string;
  /** What it is. */
  readonly kind: "pipe" | "forward" | "reverse" | "socks";
  /** Where it listens: path, or address and port; of a reverse one the port inside. */
  readonly listen: string;
  /** Where that leads; undefined where its clients say it. */
  readonly to: string | undefined;
  /** Connections now. */
  readonly active: number;
  /** Connections that were begun. */
  readonly connections: number;
  /** Connections of which the other side was not reached, or that were refused. */
  readonly failed: number;
  /** Connections that ended with a reset, or by the idle limit. */
  readonly aborted: number;
  /** Bytes from this computer to the inside. */
  readonly bytesIn: number;
  /** Bytes from the inside to this computer. */
  readonly bytesOut: number;
}

/** The stack that stands in for an interface of the operating system. */
export interface StackStats {
  /** TCP connections. */
  readonly connections: number;
  /** SYNs that wait for their owner. */
  readonly pending: number;
  /** Connections that have ended and are remembered for a while. */
  readonly timeWaits: number;
  /** Bytes of memory that buffers hold. */
  readonly bufferBytes: number;
  /** What TCP and IP have seen; the names are those of net/tcp/counters.ts. */
  readonly tcp: Readonly<Record<string, number>>;
  /** What UDP has seen. */
  readonly udp: Readonly<Record<string, number>>;
  /** The ways from programs of this computer through it. */
  readonly proxies: readonly ProxyStats[];
}

/** One relay. */
export interface PlaneRelayStats {
  /** The id it was added with. */
  readonly id: string;
  /** Where its client is, `address:port`. */
  readonly client: string;
  /** Where the client's peer is, `address:port`. */
  readonly uplink: string;
  /** Bytes handed on to the uplink. */
  readonly bytesToUplink: number;
  /** Bytes handed on to the client. */
  readonly bytesToClient: number;
}

/** Everything that is counted. */
export interface PlaneStats {
  /** Peers of the node's own device. */
  readonly peers: readonly PlanePeerStats[];
  /** Guests. */
  readonly guests: readonly PlaneGuestStats[];
  /** Tunnels of others that are carried through the node's port. */
  readonly relays: readonly PlaneRelayStats[];
  /** The node's UDP socket. */
  readonly udp: SocketStats;
  /** The TUN device; undefined when there is none. */
  readonly tun: SocketStats | undefined;
  /** The stack of this process; undefined while nothing was borrowed. */
  readonly stack: StackStats | undefined;
  /** What the device dropped, by reason. */
  readonly wireguard: Readonly<Record<string, number>>;
  /** Control datagrams handed on. */
  readonly controlReceived: number;
  /** Control datagrams dropped: more than are taken at once, or too long. */
  readonly controlDropped: number;
  /** Datagrams that are neither WireGuard nor control. */
  readonly unknown: number;
  /** Packets for this computer that were dropped because there is neither TUN device nor stack. */
  readonly noTun: number;
  /** Events about peers and guests that were dropped because too many were under way. */
  readonly eventsDropped: number;
}
