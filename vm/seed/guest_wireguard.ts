/**
 * The guest's end of its tunnel as a `wg-quick` file. Read wg(8) and wg-quick(8).
 *
 * @module
 */

import type { SeedWireGuard } from "./seed_options.ts";

/** The network that borrowers and their VMs share. */
export const TUNNEL_NETWORK = "10.0.0.0/16";

/**
 * `/etc/wireguard/wg0.conf` of a guest.
 *
 * `Table = off` keeps wg-quick from its policy routing: the endpoint is on the cable's own network,
 * so one plain default route through the tunnel cannot loop.
 *
 * @param everything Whether all of the guest's traffic belongs to the tunnel, or, beside a card with
 * a default route of its own, only what is for {@link TUNNEL_NETWORK}.
 */
export function wgQuickConfig(tunnel: SeedWireGuard, everything: boolean): string {
  const lines = [
    "[Interface]",
    `PrivateKey = ${tunnel.privateKey}`,
    `Address = ${tunnel.address}`,
    `MTU = ${tunnel.mtu}`,
    "Table = off",
    `PostUp = ip route replace ${everything ? "default" : TUNNEL_NETWORK} dev %i`,
    "",
    "[Peer]",
    `PublicKey = ${tunnel.peerPublicKey}`,
    ...(tunnel.presharedKey === undefined ? [] : [`PresharedKey = ${tunnel.presharedKey}`]),
    `AllowedIPs = ${everything ? "0.0.0.0/0" : TUNNEL_NETWORK}`,
    `Endpoint = ${tunnel.endpoint}`,
    `PersistentKeepalive = ${tunnel.keepaliveSeconds}`,
  ];
  return `${lines.join("\n")}\n`;
}
