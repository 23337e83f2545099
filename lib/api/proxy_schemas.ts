/**
 * What goes over the daemon's HTTP API about forwarded ports and SOCKS5 servers, as schemas.
 *
 * @module
 */

import { z } from "zod";

/** Body of `POST /v1/proxies`, and of `POST /v1/proxies/held`. */
export { ProxyRequest as ProxyBody } from "../node/proxy_request.ts";

/** A proxy that is open. */
export const ProxyView = z.object({
  /** Its id. */
  id: z.string(),
  /** What it is. */
  kind: z.enum(["forward", "reverse", "socks"]),
  /** Where it listens: address and port; of a reverse one the port that VMs see. */
  listen: z.string(),
  /** Where that leads; null where its clients say it. */
  to: z.string().nullable(),
  /** Connections now. */
  active: z.number(),
  /** Connections that were begun. */
  connections: z.number(),
  /** Connections of which the other side was not reached, or that were refused. */
  failed: z.number(),
  /** Connections that ended with a reset, or by the idle limit. */
  aborted: z.number(),
  /** Bytes from this computer to the VMs. */
  bytesIn: z.number(),
  /** Bytes from the VMs to this computer. */
  bytesOut: z.number(),
  /** Whether the next daemon opens it again. */
  background: z.boolean(),
  /** Why it is not open, though it is to be; null when it is. */
  error: z.string().nullable(),
});
/** A proxy that is open. */
export type ProxyView = z.infer<typeof ProxyView>;

/** Answer to `GET /v1/proxies`. */
export const ProxiesView = z.object({
  /** In the order in which they were opened. */
  proxies: z.array(ProxyView),
});

/** A line of the answer to `POST /v1/proxies/held`. An end without `stopped` is the daemon's. */
export const HeldEvent = z.discriminatedUnion("kind", [
  z.object({
    /** It is open. */
    kind: z.literal("open"),
    /** What it is. */
    proxy: ProxyView,
  }),
  z.object({
    /** It was closed by somebody else. */
    kind: z.literal("stopped"),
  }),
]);
/** A line of the answer to `POST /v1/proxies/held`. */
export type HeldEvent = z.infer<typeof HeldEvent>;
