/**
 * What goes over the daemon's HTTP API about tunnels, as schemas.
 *
 * @module
 */

import { z } from "zod";
import { WireguardKey } from "../node/messages.ts";

const Port = z.int().min(1).max(65535);

/** One tunnel. */
export const TunnelView = z.object({
  /** Whether the VM is borrowed or lent. */
  role: z.enum(["borrowed", "lent"]),
  /** Id of the VM. */
  id: z.string(),
  /** Name of the VM. */
  name: z.string(),
  /** The other side: the lender as it was named in the request, or the borrower's peer id. */
  with: z.string(),
  /** Address of this end in the tunnel; null when it does not end here. */
  localAddress: z.string().nullable(),
  /** Address of the VM in the tunnel. */
  address: z.string(),
  /** `address:port` that its packets come from and go to. */
  endpoint: z.string().nullable(),
  /** Bytes from the VM. */
  fromVm: z.number(),
  /** Bytes to the VM. */
  toVm: z.number(),
  /** Last handshake: ms since 1970; null when there was none or this end does not know. */
  lastHandshake: z.number().nullable(),
  /** Interval of this end's keepalives (s); null when the tunnel does not end here. */
  keepaliveSeconds: z.number().nullable(),
  /** How it is; lib/node/tunnels.ts says what each means. */
  state: z.enum(["up", "no-handshake", "stale", "carried", "none", "dry-run"]),
  /** A WireGuard of this computer that has a tunnel of its own to the VM; null without one. */
  client: z.object({
    /** Its address in the tunnel. */
    address: z.string(),
    /** Its UDP port on this computer. */
    port: z.number(),
    /** Bytes from the VM. */
    fromVm: z.number(),
    /** Bytes to the VM. */
    toVm: z.number(),
  }).nullable(),
  /** A WireGuard server of the borrower's that the VM has a tunnel to; null without one. */
  server: z.object({
    /** Where it is, `address:port`. */
    endpoint: z.string(),
    /** Bytes from the VM. */
    fromVm: z.number(),
    /** Bytes to the VM. */
    toVm: z.number(),
  }).nullable(),
});
/** One tunnel. */
export type TunnelView = z.infer<typeof TunnelView>;

/** Answer to `GET /v1/tunnels`. */
export const TunnelsView = z.object({
  /** The interface that this node's tunnels end in; null when there is none. */
  device: z.string().nullable(),
  /** The tunnels. */
  tunnels: z.array(TunnelView),
});
/** Answer to `GET /v1/tunnels`. */
export type TunnelsView = z.infer<typeof TunnelsView>;

/** Body of `PUT /v1/vms/:name/client`. */
export const ClientBody = z.strictObject({
  /** The client's WireGuard public key, base64. */
  publicKey: WireguardKey,
  /** Its UDP port on this computer. */
  port: Port,
});
/** Body of `PUT /v1/vms/:name/client`. */
export type ClientBody = z.infer<typeof ClientBody>;

/** Answer to `PUT /v1/vms/:name/client`: what goes into the client's configuration. */
export const ClientView = z.object({
  /** The client's address in the tunnel. */
  address: z.string(),
  /** The VM's address in the tunnel. */
  vmAddress: z.string(),
  /** The VM's WireGuard public key, base64. */
  vmKey: z.string(),
  /** UDP port of the node on this computer, which takes the client's packets. */
  nodePort: z.number(),
});
/** Answer to `PUT /v1/vms/:name/client`. */
export type ClientView = z.infer<typeof ClientView>;

/** Body of `PUT /v1/vms/:name/server`. */
export const ServerBody = z.strictObject({
  /** WireGuard public key that the VM shows to the server, base64. */
  publicKey: WireguardKey,
  /** UDP port of the VM's WireGuard that talks to it. */
  port: Port,
  /** The server, as an address. */
  address: z.union([z.ipv4(), z.ipv6()]),
  /** The server's UDP port. */
  serverPort: Port,
});
/** Body of `PUT /v1/vms/:name/server`. */
export type ServerBody = z.infer<typeof ServerBody>;

/** Answer to `PUT /v1/vms/:name/server`. */
export const ServerView = z.object({
  /** What the VM is to use as the server's endpoint, `address:port`. */
  endpoint: z.string(),
});
/** Answer to `PUT /v1/vms/:name/server`. */
export type ServerView = z.infer<typeof ServerView>;

/** Body of `POST /v1/ping`. */
export const PingBody = z.strictObject({
  /** Name, id or address of a borrowed VM. */
  host: z.string().min(1).max(253),
  /** How long the answer is waited for, in ms. */
  timeoutMs: z.int().min(1).max(2_147_483_647),
});
/** Body of `POST /v1/ping`. */
export type PingBody = z.infer<typeof PingBody>;

/** Answer to `POST /v1/ping`. */
export const PingView = z.discriminatedUnion("kind", [
  z.object({
    /** It was answered. */
    kind: z.literal("reply"),
    /** After how long, in ms. */
    roundTripMs: z.number(),
  }),
  z.object({
    /** Somebody on the way, or the VM, said that it goes nowhere. */
    kind: z.literal("unreachable"),
    /** The ICMP code. */
    code: z.number(),
  }),
  z.object({
    /** Nothing came in time. */
    kind: z.literal("timeout"),
  }),
]);
/** Answer to `POST /v1/ping`. */
export type PingView = z.infer<typeof PingView>;
