/**
 * The daemon's HTTP API, the part about forwarded ports and SOCKS5 servers:
 *
 * ```
 * GET    /v1/proxies         those that are open, or are to be
 * POST   /v1/proxies         open one that stays, and that the next daemon opens again
 * POST   /v1/proxies/held    open one for as long as the client stays; a JSON line when it is open,
 *                            and one when it was closed otherwise
 * DELETE /v1/proxies/:id     close one
 * ```
 *
 * @module
 */

import type { Hono } from "hono";
import { stream } from "hono/streaming";
import type { OpenProxy } from "../node/proxies.ts";
import type { Node } from "../node/node.ts";
import { bodyOf } from "./_body.ts";
import { type HeldEvent, ProxyBody, type ProxyView } from "./proxy_schemas.ts";

/** Adds the routes to the API of `node`; `ending` aborts when the daemon ends. */
export function addProxyRoutes(app: Hono, node: Node, ending: AbortSignal): void {
  app.get("/v1/proxies", async (c) => {
    return c.json({ proxies: (await node.proxies.list()).map(proxyView) });
  });

  app.post("/v1/proxies", async (c) => {
    return c.json(proxyView(await node.proxies.open(await bodyOf(c, ProxyBody), true)));
  });

  app.post("/v1/proxies/held", async (c) => {
    const proxy = await node.proxies.open(await bodyOf(c, ProxyBody), false);
    c.header("Content-Type", "application/x-ndjson");
    return stream(c, async (out) => {
      const gone = new AbortController();
      out.onAbort(() => gone.abort());
      const tell = async (event: HeldEvent): Promise<void> => {
        await out.writeln(JSON.stringify(event));
      };
      await tell({ kind: "open", proxy: proxyView(proxy) });
      const signal = AbortSignal.any([gone.signal, c.req.raw.signal, ending]);
      if (await node.proxies.hold(proxy.id, signal)) await tell({ kind: "stopped" });
    });
  });

  app.delete("/v1/proxies/:id", async (c) => {
    return c.json(proxyView(await node.proxies.close(c.req.param("id"))));
  });
}

function proxyView({ kind, to, error, ...rest }: OpenProxy): ProxyView {
  return { ...rest, kind, to: to ?? null, error: error ?? null };
}
