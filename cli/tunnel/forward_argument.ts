/**
 * What the words of `omerta forward` say, in the manner of ssh's -L and -R.
 *
 * @module
 */

import { isIP } from "node:net";
import type { ProxyBody } from "../../lib/api/proxy_schemas.ts";
import { EXIT, OmertaError } from "../../lib/core/errors.ts";
import { parsePort } from "../../lib/core/link.ts";

/** `[ADDR:]PORT:HOST:PORT`; an IPv6 address stands in brackets. */
const SPEC = /^(?:(\[[0-9A-Fa-f:.]+\]|[^:[\]]+):)?(\d+):(\[[0-9A-Fa-f:.]+\]|[^:[\]]+):(\d+)$/;

/** Name, id or address of a VM; inside there is no IPv6. */
const INSIDE = /^[A-Za-z0-9._-]{1,253}$/;

/** Where listening is safe when nothing else is said. */
export const LOOPBACK = "127.0.0.1";

/**
 * Reads `[ADDR:]PORT:HOST:PORT`.
 *
 * @param reverse Whether the first port is one that VMs see, and the second of this computer.
 * @throws {OmertaError} `bad-forward`, `bad-port`, `bad-address`.
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
    if (!INSIDE.test(host)) throw bad(text, "want the name, id or IPv4 address of a VM as HOST");
    return { kind: "forward", listen, host, port: there };
  }
  if (address !== undefined) {
    throw bad(text, "a reverse one listens at this computer's address in the tunnel");
  }
  return { kind: "reverse", port, to: { address: literal(host), port: there } };
}

/**
 * An address of this computer, as the daemon takes it.
 *
 * @throws {OmertaError} `bad-address`.
 */
export function literal(host: string): string {
  if (host === "localhost") return LOOPBACK;
  const address = host.replace(/^\[(.*)\]$/, "$1");
  // A zone, as in fe80::1%eth0, is nothing that the daemon takes.
  if (isIP(address) !== 0 && !address.includes("%")) return address;
  throw new OmertaError(
    "bad-address",
    `Cannot use '${host}': want an address of this computer, as 127.0.0.1 or ::1, or localhost`,
    { exit: EXIT.usage },
  );
}

function bad(text: string, why: string): OmertaError {
  return new OmertaError("bad-forward", `Cannot forward '${text}': ${why}`, { exit: EXIT.usage });
}
