/**
 * Finds tunnels that send and hear nothing: this computer may have another address now, and its
 * lender still sends to the old one. A heartbeat tells it.
 *
 * @module
 */

/**
 * A tunnel that sends less than this between two looks is idle (bytes): a keepalive alone has 32 and
 * wants no answer.
 */
const MIN_SENT = 64;

/** Counters of one tunnel; see `PlanePeerStats`. */
export interface TunnelCounters {
  /** Public key of its other end, base64. */
  readonly publicKey: string;
  /** Bytes received. */
  readonly rxBytes: number;
  /** Bytes sent. */
  readonly txBytes: number;
}

/** Remembers the counters of the last look, of the tunnels that there were then. */
export class SilentTunnels {
  #last = new Map<string, TunnelCounters>();

  /** The keys of the tunnels that have sent since the last look and heard nothing. */
  look(tunnels: readonly TunnelCounters[]): string[] {
    const silent = tunnels.filter(({ publicKey, rxBytes, txBytes }) => {
      const last = this.#last.get(publicKey);
      return last !== undefined && rxBytes === last.rxBytes && txBytes - last.txBytes >= MIN_SENT;
    });
    this.#last = new Map(tunnels.map((tunnel) => [tunnel.publicKey, tunnel]));
    return silent.map(({ publicKey }) => publicKey);
  }
}
