/**
 * A scene for tests, as a guest of the doubles sees it.
 *
 * @module
 */

import { guestLink } from "../../net/filter/guest_link.ts";
import type { Scene } from "./scene.ts";

/** The scene of the world, for a guest with the usual MAC address. */
export const SCENE: Scene = {
  link: guestLink(),
  host: { uplink: "192.168.1.100", gateway: "192.168.100.1", loopback: "127.0.0.1" },
  host6: ["fd00:1::100", "::1"],
  cards: [0x5254000a0001, 0x5254000a0002],
  lenderPort: 51820,
  neighbour: "192.168.1.50",
  router: "192.168.1.1",
  broadcast: "192.168.1.255",
  internet: "203.0.113.10",
  borrower: { address: "198.51.100.7", port: 40_001 },
  other: { mac: 0x525400aabbcc, tunnel: "10.0.0.3" },
};

/** A nonce that stands out. */
export const NONCE: Uint8Array = Uint8Array.fromHex("c0ffee0123456789");
