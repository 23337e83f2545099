/**
 * The daemon's HTTP API, the part about tunnels:
 *
 * ```
 * GET    /v1/tunnels              those of this node, borrowed and lent
 * POST   /v1/ping                 send one echo request to a VM, and wait for the answer
 * PUT    /v1/vms/:name/client     carry the tunnel of a WireGuard on this computer to the VM
 * DELETE /v1/vms/:name/client     do not any more
 * PUT    /v1/vms/:name/server     carry the tunnel of the VM to a WireGuard server
 * ```
 *
 * @module
 */

import type { Hono } from "hono";
import { EXIT, OmertaError } from "../core/errors.ts";
import { bodyOf } from "./_body.ts";
import { toEndpoint } from "../node/lender_address.ts";
import type { Node } from "../node/node.ts";
import { BORROWER_ADDRESS } from "../node/tunnel_addresses.ts";
import { type Tunnel, tunnelsOf } from "../node/tunnels.ts";
import {
  ClientBody,
  type ClientView,
  PingBody,
  type PingView,
  ServerBody,
  type ServerView,
  type TunnelsView,
  type TunnelView,
} from "./tunnel_schemas.ts";

/** Adds the routes to the API of `node`. */
export function addTunnelRoutes(app: Hono, node: Node): void {
  app.get("/v1/tunnels", async (c) => {
    const status = await node.status();
    const view: TunnelsView = {
      device: status.tunnelEnd.kind === "device" ? status.tunnelEnd.name : null,
      tunnels: tunnelsOf(status, Date.now()).map(tunnelView),
    };
    return c.json(view);
  });

  app.post("/v1/ping", async (c) => {
    const { host, timeoutMs } = await bodyOf(c, PingBody);
    const view: PingView = await node.ping(host, timeoutMs);
    return c.json(view);
  });

  app.put("/v1/vms/:name/client", async (c) => {
    const body = await bodyOf(c, ClientBody);
    if (body.port === node.port) {
      throw new OmertaError(
        "port-in-use",
        `Cannot use UDP port ${body.port} for a client: the daemon has it`,
        { exit: EXIT.usage, next: "Choose another --listen-port" },
      );
    }
    const vm = await node.borrower.carried.setClient(c.req.param("name"), body);
    const view: ClientView = {
      address: vm.client.address,
      vmAddress: vm.address,
      vmKey: vm.wireguardKey,
      nodePort: node.port,
    };
    return c.json(view);
  });

  app.delete("/v1/vms/:name/client", async (c) => {
    const removed = await node.borrower.carried.removeClient(c.req.param("name"));
    return c.json({ removed });
  });

  app.put("/v1/vms/:name/server", async (c) => {
    const { publicKey, port, address, serverPort } = await bodyOf(c, ServerBody);
    const endpoint = toEndpoint(address, serverPort);
    await node.borrower.carried.setServer(c.req.param("name"), { publicKey, port, endpoint });
    const view: ServerView = { endpoint: `${BORROWER_ADDRESS}:${node.port}` };
    return c.json(view);
  });
}

function tunnelView(tunnel: Tunnel): TunnelView {
  return {
    role: tunnel.role,
    id: tunnel.id,
    name: tunnel.name,
    with: tunnel.with,
    localAddress: tunnel.localAddress ?? null,
    address: tunnel.address,
    endpoint: tunnel.endpoint ?? null,
    fromVm: tunnel.fromVm,
    toVm: tunnel.toVm,
    lastHandshake: tunnel.lastHandshakeMs ?? null,
    keepaliveSeconds: tunnel.keepaliveSeconds ?? null,
    state: tunnel.state,
    client: tunnel.client ?? null,
    server: tunnel.server ?? null,
  };
}
