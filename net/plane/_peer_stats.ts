/**
 * A peer's counters as plain data.
 *
 * @module
 */

import { ipv4ToString } from "../wire/ip_address.ts";
import type { PeerStats } from "../wireguard/device.ts";
import type { PlanePeerStats } from "./stats.ts";

/** Those of a peer of the node's own device. */
export function peerStats(peer: PeerStats): PlanePeerStats {
  return {
    publicKey: peer.publicKey.toBase64(),
    endpoint: peer.endpoint?.toString(),
    allowedIps: peer.allowedIps.map(({ address, bits }) => `${ipv4ToString(address)}/${bits}`),
    keepaliveSeconds: peer.keepaliveSeconds,
    rxBytes: peer.rxBytes,
    txBytes: peer.txBytes,
    lastHandshakeMs: peer.lastHandshakeMs,
  };
}
