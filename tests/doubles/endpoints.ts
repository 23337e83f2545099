/**
 * Addresses and ports for tests that know that they are right.
 *
 * @module
 */

import assert from "node:assert/strict";
import { Endpoint } from "../../net/os/endpoint.ts";

/** This address and port. */
export function endpoint(address: string, port: number): Endpoint {
  const made = Endpoint.of(address, port);
  assert.ok(made);
  return made;
}

/** A port of this host. */
export function loopback(port: number): Endpoint {
  return endpoint("127.0.0.1", port);
}
