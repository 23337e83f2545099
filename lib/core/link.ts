/**
 * The link that a lender hands to a borrower: `omerta://connect?key=..&host=..&port=..`.
 *
 * Whoever has the link can ask this lender for VMs: it is a secret, like a password.
 *
 * @module
 */

import { EXIT, OmertaError } from "./errors.ts";

/** UDP port of a node unless told otherwise; the port of WireGuard. */
export const DEFAULT_PORT = 51820;

/** What a link says. */
export interface ConnectLink {
  /** The lender's local key, 32 bytes. Secret. */
  readonly key: Uint8Array;
  /** Address or name of the lender. */
  readonly host: string;
  /** UDP port of the lender. */
  readonly port: number;
}

const KEY_REGEXP = /^[0-9a-f]{64}$/;
const HOST_REGEXP =
  /^(?:[A-Za-z0-9](?:[A-Za-z0-9.-]{0,251}[A-Za-z0-9])?|\[?[0-9A-Fa-f:.]{2,45}\]?)$/;
const PORT_REGEXP = /^[1-9][0-9]{0,4}$/;

/** The link of a lender. */
export function formatLink(link: ConnectLink): string {
  const host = link.host.includes(":") ? `[${link.host}]` : link.host;
  return `omerta://connect?key=${link.key.toHex()}&host=${host}&port=${link.port}`;
}

/**
 * Reads a link back.
 *
 * @throws {OmertaError} `bad-link`, saying which part is wrong; never quoting the key.
 */
export function parseLink(text: string): ConnectLink {
  const trimmed = text.trim();
  const prefix = "omerta://connect?";
  if (!trimmed.startsWith(prefix)) {
    throw badLink(`it does not begin with '${prefix}'`);
  }
  const fields = new Map<string, string>();
  for (const part of trimmed.slice(prefix.length).split("&")) {
    const equals = part.indexOf("=");
    const name = part.slice(0, equals < 0 ? part.length : equals);
    if (fields.has(name)) throw badLink(`'${name}' is given twice`);
    fields.set(name, equals < 0 ? "" : part.slice(equals + 1));
  }
  const key = fields.get("key") ?? "";
  if (!KEY_REGEXP.test(key)) {
    throw badLink(`the key has ${key.length} characters, want 64 of 0-9 and a-f`);
  }
  const host = fields.get("host") ?? "";
  if (!HOST_REGEXP.test(host)) throw badLink(`the host is '${host}', want an address or a name`);
  return {
    key: Uint8Array.fromHex(key),
    host: host.replace(/^\[|\]$/g, ""),
    port: parsePort(fields.get("port") ?? String(DEFAULT_PORT)),
  };
}

/**
 * A UDP or TCP port, 1 to 65535.
 *
 * @throws {OmertaError} `bad-port`.
 */
export function parsePort(text: string): number {
  const port = PORT_REGEXP.test(text) ? Number(text) : 0;
  if (port < 1 || port > 65535) {
    throw new OmertaError("bad-port", `Cannot use port '${text}': want a number from 1 to 65535`, {
      exit: EXIT.usage,
    });
  }
  return port;
}

/**
 * Address or name of a host, with or without a port: `192.168.1.100`, `name:51820`, `[::1]:51820`.
 *
 * @throws {OmertaError} `bad-host` or `bad-port`.
 */
export function parseHostPort(text: string): { host: string; port: number | undefined } {
  const bracket = /^\[([0-9A-Fa-f:.]+)\](?::(.*))?$/.exec(text);
  const colons = text.split(":").length - 1;
  const host = bracket?.[1] ?? (colons === 1 ? text.slice(0, text.indexOf(":")) : text);
  const port = bracket ? bracket[2] : colons === 1 ? text.slice(text.indexOf(":") + 1) : undefined;
  if (!HOST_REGEXP.test(host)) {
    throw new OmertaError("bad-host", `Cannot use host '${text}': want ADDRESS or ADDRESS:PORT`, {
      exit: EXIT.usage,
    });
  }
  return { host, port: port === undefined ? undefined : parsePort(port) };
}

function badLink(why: string): OmertaError {
  return new OmertaError("bad-link", `Cannot read the link: ${why}`, {
    exit: EXIT.usage,
    next: "Ask the lender for the output of 'omerta key share', and put the link in quotes",
  });
}
