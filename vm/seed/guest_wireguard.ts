/**
 * The guest's end of its tunnel as a `wg-quick` file. Read wg(8) and wg-quick(8).
 *
 * @module
 */

import type { SeedWireGuard } from "./seed_options.ts";

/**
 * `/etc/wireguard/wg0.conf` of a guest.
 *
 * `Table = off` keeps wg-quick from its policy routing: the endpoint is on the cable's own network,
 * so one plain default route through the tunnel cannot loop.
 */
export function wgQuickConfig(tunnel: SeedWireGuard): string {
  const lines = [
    "[Interface]",
    `PrivateKey = ${tunnel.privateKey}`,
    `Address = ${tunnel.address}`,
    `MTU = ${tunnel.mtu}`,
    "Table = off",
    "PostUp = ip route replace default dev %i",
    "",
    "[Peer]",
    `PublicKey = ${tunnel.peerPublicKey}`,
    ...(tunnel.presharedKey === undefined ? [] : [`PresharedKey = ${tunnel.presharedKey}`]),
    "AllowedIPs = 0.0.0.0/0",
    `Endpoint = ${tunnel.endpoint}`,
    `PersistentKeepalive = ${tunnel.keepaliveSeconds}`,
  ];
  return `${lines.join("\n")}\n`;
}
