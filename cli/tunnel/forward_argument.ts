/**
 * What the words of `omerta forward` say, in the manner of ssh's -L and -R.
 *
 * @module
 */

import type { ProxyBody } from "../../lib/api/proxy_schemas.ts";
import { EXIT, OmertaError } from "../../lib/core/errors.ts";
import { parsePort } from "../../lib/core/link.ts";

/** `[ADDR:]PORT:HOST:PORT`; an IPv6 address stands in brackets. */
const SPEC = /^(?:(\[[0-9A-Fa-f:.]+\]|[^:[\]]+):)?(\d+):(\[[0-9A-Fa-f:.]+\]|[^:[\]]+):(\d+)$/;

/** Where listening is safe when nothing else is said. */
export const LOOPBACK = "127.0.0.1";

/**
 * Reads `[ADDR:]PORT:HOST:PORT`.
 *
 * @param reverse Whether the first port is one that VMs see, and the second of this computer.
 * @throws {OmertaError} `bad-forward`, `bad-port`.
 */
export function parseForward(text: string, reverse: boolean): ProxyBody {
  const found = SPEC.exec(text);
  const [, address, first, host, second] = found ?? [];
  if (first === undefined || host === undefined || second === undefined) {
    throw bad(text, "want [ADDR:]PORT:HOST:PORT, as in 8080:web:80");
  }
  const port = parsePort(first);
  const there = parsePort(second);
  if (!reverse) {
    const listen = { address: literal(address ?? LOOPBACK), port };
    return { kind: "forward", listen, host: withoutBrackets(host), port: there };
  }
  if (address !== undefined) {
    throw bad(text, "a reverse one listens at this computer's address in the tunnel");
  }
  return { kind: "reverse", port, to: { address: literal(host), port: there } };
}

/** An address of this computer, as the daemon takes it. */
export function literal(host: string): string {
  return host === "localhost" ? LOOPBACK : withoutBrackets(host);
}

function withoutBrackets(host: string): string {
  return host.startsWith("[") ? host.slice(1, -1) : host;
}

function bad(text: string, why: string): OmertaError {
  return new OmertaError("bad-forward", `Cannot forward '${text}': ${why}`, { exit: EXIT.usage });
}
