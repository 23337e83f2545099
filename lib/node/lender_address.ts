/**
 * Where a lender is, and which key is shared with it.
 *
 * @module
 */

import { lookup } from "node:dns/promises";
import { directNetwork, type NetworkKey } from "../../net/mesh/envelope.ts";
import { Endpoint } from "../../net/os/endpoint.ts";
import type { Config } from "../core/config.ts";
import { EXIT, OmertaError } from "../core/errors.ts";
import { DEFAULT_PORT, parseHostPort } from "../core/link.ts";

/** The networks of the keys in use: deriving one costs more than looking it up. */
export class KeyRing {
  readonly #networks = new Map<string, NetworkKey>();

  /** The network of a local key, in hex. */
  network(key: string): NetworkKey {
    const known = this.#networks.get(key) ?? directNetwork(Uint8Array.fromHex(key));
    this.#networks.set(key, known);
    return known;
  }
}

/** A lender that can be asked. */
export interface LenderAddress {
  /** As it was named. */
  readonly host: string;
  /** Address and port. */
  readonly endpoint: Endpoint;
  /** The network shared with it. */
  readonly network: NetworkKey;
}

/**
 * The lender called `provider`: its key is that of its imported link, or else this node's own.
 *
 * @throws {OmertaError} `bad-host`, `bad-port` or `unknown-host`.
 */
export async function findLender(
  provider: string,
  config: Config,
  keys: KeyRing,
): Promise<LenderAddress> {
  const { host, port } = parseHostPort(provider);
  const known = config.lenders.findLast((lender) =>
    lender.host === host && (port === undefined || port === lender.port)
  );
  const endpoint = toEndpoint(await resolve(host), port ?? known?.port ?? DEFAULT_PORT);
  return { host, endpoint, network: keys.network(known?.key ?? config.localKey) };
}

/**
 * An address and port that were checked before.
 *
 * @throws {OmertaError} `bad-host`.
 */
export function toEndpoint(address: string, port: number): Endpoint {
  const endpoint = Endpoint.of(address, port);
  if (endpoint) return endpoint;
  throw new OmertaError("bad-host", `Cannot use the address '${address}', port ${port}`, {
    exit: EXIT.usage,
  });
}

async function resolve(host: string): Promise<string> {
  try {
    return (await lookup(host)).address;
  } catch (error) {
    throw new OmertaError("unknown-host", `Cannot find the address of '${host}'`, {
      exit: EXIT.unreachable,
      next: "Check the name, or give the lender's address",
      cause: error,
    });
  }
}
