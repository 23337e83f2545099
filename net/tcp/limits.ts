/**
 * The limits of a stack that can be set, with what happens when they are reached. Those of UDP, pings,
 * fragments and segments in flight stand in the files that keep them; docs/tcp.md lists all.
 *
 * @module
 */

/** Limits of a stack; what is left out has its default. */
export interface Limits {
  /** Connections, half-open ones included, without TIME-WAIT. Beyond: a SYN is dropped. @default {16384} */
  readonly connections: number;
  /**
   * SYNs whose owner has not answered yet. Beyond, or beyond half of it from one address: the oldest
   * is forgotten for the new one; what is more than that in one batch is dropped. @default {2048}
   */
  readonly pending: number;
  /**
   * Connections in SYN-RECEIVED. Beyond, or beyond half of it from one address: the oldest is forgotten
   * for the new one. @default {1024}
   */
  readonly halfOpen: number;
  /** Records in TIME-WAIT. Beyond: the oldest ends early. @default {4096} */
  readonly timeWait: number;
  /** Bytes that one connection buffers in each direction; the windows grow up to it. @default {4 MiB} */
  readonly bufferBytes: number;
  /**
   * Bytes that all connections buffer together. Beyond: what arrives is dropped and comes again. What
   * arrives out of order may use half of them, and from three quarters on `write` takes nothing.
   * @default {128 MiB}
   */
  readonly totalBytes: number;
  /** Gaps in what one connection has received. Beyond: what would open another is dropped. @default {256} */
  readonly gaps: number;
  /** Lowest port that is chosen for what has asked for none; 65535 is the highest. @default {49152} */
  readonly firstPort: number;
  /** Resets and ICMP errors per second for packets that belong to nothing. @default {500} */
  readonly answersPerSecond: number;
  /** Echo replies per second. @default {1000} */
  readonly echoesPerSecond: number;
}

/** What holds where nothing else is said. */
export const DEFAULT_LIMITS: Limits = {
  connections: 16384,
  pending: 2048,
  halfOpen: 1024,
  timeWait: 4096,
  bufferBytes: 4 * 1024 * 1024,
  totalBytes: 128 * 1024 * 1024,
  gaps: 256,
  firstPort: 49152, // RFC 6335 section 6
  answersPerSecond: 500,
  echoesPerSecond: 1000,
};
