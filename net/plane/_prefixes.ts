/**
 * Allowed IPs as people write them.
 *
 * @module
 */

import { OmertaError } from "../../lib/core/errors.ts";
import { type Ipv4Prefix, parseIpv4Prefix } from "../wire/ip_address.ts";

/**
 * The prefix that `text` names.
 *
 * @throws {OmertaError} `bad-allowed-ip`.
 */
export function prefixOf(text: string): Ipv4Prefix {
  const prefix = parseIpv4Prefix(text);
  if (prefix !== undefined) return prefix;
  throw new OmertaError(
    "bad-allowed-ip",
    `Cannot use allowed IP "${text}": want an IPv4 prefix, e.g. 10.0.0.2/32`,
  );
}
