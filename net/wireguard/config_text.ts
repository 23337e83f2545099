/**
 * Configuration text of wg(8) and wg-quick(8), written and strictly read:
 *
 * ```
 * [Interface]
 * PrivateKey = 4BlnhXV...=
 * Address = 10.0.0.1/24
 * ListenPort = 51820
 *
 * [Peer]
 * PublicKey = 3p7bfXt...=
 * AllowedIPs = 10.0.0.2/32
 * Endpoint = 192.0.2.2:51820
 * PersistentKeepalive = 25
 * ```
 *
 * `Address`, `DNS` and `MTU` are words of wg-quick; without them `wg setconf` takes the text too.
 * Limits: IPv4 inside, an endpoint is an address and not a name, and nothing that runs a command
 * (`PostUp` and the like) is read.
 *
 * @module
 */

import { OmertaError } from "../../lib/core/errors.ts";
import { Endpoint } from "../os/endpoint.ts";
import { type Ipv4Prefix, ipv4ToString, parseIpv4, parseIpv4Prefix } from "../wire/ip_address.ts";
import { formatKey, parseKey } from "./keys.ts";

/** An address of the interface and the network it is in. */
export interface InterfaceAddress {
  /** IPv4 address, unsigned 32 bits. */
  readonly address: number;
  /** Prefix length of its network, 0 to 32 bits. */
  readonly bits: number;
}

/** A `[Peer]`. */
export interface ConfigPeer {
  /** 32 bytes. */
  readonly publicKey: Uint8Array;
  /** 32 bytes. */
  readonly presharedKey?: Uint8Array;
  /** Its inner addresses. */
  readonly allowedIps: readonly Ipv4Prefix[];
  /** Where it is; a server does not know that of its clients. */
  readonly endpoint?: Endpoint;
  /** Interval in s, 1 to 65535. */
  readonly keepaliveSeconds?: number;
}

/** The whole text: a client has one peer with an endpoint, a server a port and many peers. */
export interface WireGuardConfig {
  /** 32 bytes. */
  readonly privateKey: Uint8Array;
  /** Addresses of the interface; none for text that `wg setconf` takes. */
  readonly addresses: readonly InterfaceAddress[];
  /** UDP port, 1 to 65535; any free one without it. */
  readonly listenPort?: number;
  /** Name servers, IPv4. */
  readonly dns?: readonly number[];
  /** Inner MTU in bytes, 576 to 65535. */
  readonly mtu?: number;
  /** In the order of the text. */
  readonly peers: readonly ConfigPeer[];
}

/** The text of a configuration. It holds the private key. */
export function emitConfig(config: WireGuardConfig): string {
  const lines = ["[Interface]", `PrivateKey = ${formatKey(config.privateKey)}`];
  if (config.addresses.length > 0) {
    const list = config.addresses.map(({ address, bits }) => `${ipv4ToString(address)}/${bits}`);
    lines.push(`Address = ${list.join(", ")}`);
  }
  if (config.listenPort !== undefined) lines.push(`ListenPort = ${config.listenPort}`);
  if (config.dns?.length) lines.push(`DNS = ${config.dns.map(ipv4ToString).join(", ")}`);
  if (config.mtu !== undefined) lines.push(`MTU = ${config.mtu}`);
  for (const peer of config.peers) {
    lines.push("", "[Peer]", `PublicKey = ${formatKey(peer.publicKey)}`);
    if (peer.presharedKey) lines.push(`PresharedKey = ${formatKey(peer.presharedKey)}`);
    if (peer.allowedIps.length > 0) {
      const list = peer.allowedIps.map(({ address, bits }) => `${ipv4ToString(address)}/${bits}`);
      lines.push(`AllowedIPs = ${list.join(", ")}`);
    }
    if (peer.endpoint) lines.push(`Endpoint = ${peer.endpoint}`);
    if (peer.keepaliveSeconds) lines.push(`PersistentKeepalive = ${peer.keepaliveSeconds}`);
  }
  return `${lines.join("\n")}\n`;
}

type Mutable<T> = { -readonly [Key in keyof T]: T[Key] };
type Draft<T> = Partial<Mutable<T>>;

/**
 * Reads a configuration. Words are those of the table above, in any case; `#` begins a comment.
 *
 * @throws {OmertaError} `bad-wireguard-config`, naming the line; keys are never quoted.
 */
export function parseConfig(text: string): WireGuardConfig {
  let device: Draft<WireGuardConfig> | undefined;
  let peer: Draft<ConfigPeer> | undefined;
  const peers: { at: number; peer: Draft<ConfigPeer> }[] = [];
  text.split("\n").forEach((raw, i) => {
    const number = i + 1;
    const line = (raw.split("#", 1)[0] ?? "").trim();
    if (line === "") return;
    const section = line.toLowerCase();
    if (section === "[interface]") {
      if (device !== undefined) throw fault(number, "a second [Interface]");
      device = { addresses: [] };
    } else if (section === "[peer]") {
      peer = { allowedIps: [] };
      peers.push({ at: number, peer });
    } else {
      const equals = line.indexOf("=");
      if (equals < 0) throw fault(number, 'got no "=", want "Name = value"');
      const name = line.slice(0, equals).trim();
      const value = line.slice(equals + 1).trim();
      if (peer !== undefined) readPeerLine(peer, number, name, value);
      else if (device !== undefined) readInterfaceLine(device, number, name, value);
      else throw fault(number, `${name} stands before any section`);
    }
  });
  return finish(device, peers);
}

function finish(
  device: Draft<WireGuardConfig> | undefined,
  peers: readonly { readonly at: number; readonly peer: Draft<ConfigPeer> }[],
): WireGuardConfig {
  const { privateKey, addresses = [], ...rest } = device ?? {};
  if (privateKey === undefined) throw fault(1, "there is no [Interface] with a PrivateKey");
  return {
    privateKey,
    addresses,
    ...rest,
    peers: peers.map(({ at, peer: { publicKey, allowedIps = [], ...others } }) => {
      if (publicKey === undefined) throw fault(at, "this [Peer] has no PublicKey");
      return { publicKey, allowedIps, ...others };
    }),
  };
}

function readInterfaceLine(
  into: Draft<WireGuardConfig>,
  line: number,
  name: string,
  value: string,
): void {
  switch (name.toLowerCase()) {
    case "privatekey":
      once(into.privateKey, line, name);
      into.privateKey = readKey(line, name, value);
      break;
    case "address":
      into.addresses = [
        ...into.addresses ?? [],
        ...readList(line, name, value, "a.b.c.d/n", parseInterfaceAddress),
      ];
      break;
    case "listenport":
      once(into.listenPort, line, name);
      into.listenPort = readNumber(line, name, value, 1);
      break;
    case "dns":
      into.dns = [...into.dns ?? [], ...readList(line, name, value, "a.b.c.d", parseIpv4)];
      break;
    case "mtu":
      once(into.mtu, line, name);
      into.mtu = readNumber(line, name, value, 576);
      break;
    default:
      throw fault(line, `${name} is not a word of [Interface] that Omerta reads`);
  }
}

function readPeerLine(into: Draft<ConfigPeer>, line: number, name: string, value: string): void {
  switch (name.toLowerCase()) {
    case "publickey":
      once(into.publicKey, line, name);
      into.publicKey = readKey(line, name, value);
      break;
    case "presharedkey":
      once(into.presharedKey, line, name);
      into.presharedKey = readKey(line, name, value);
      break;
    case "allowedips":
      into.allowedIps = [
        ...into.allowedIps ?? [],
        ...readList(line, name, value, "a.b.c.d/n with no bits behind the prefix", parseIpv4Prefix),
      ];
      break;
    case "endpoint": {
      once(into.endpoint, line, name);
      const endpoint = parseEndpoint(value);
      if (endpoint === undefined) {
        throw fault(line, `Endpoint is "${value}", want address:port or [address]:port`);
      }
      into.endpoint = endpoint;
      break;
    }
    case "persistentkeepalive": {
      once(into.keepaliveSeconds, line, name);
      const seconds = value === "off" ? 0 : readNumber(line, name, value, 0);
      if (seconds > 0) into.keepaliveSeconds = seconds;
      break;
    }
    default:
      throw fault(line, `${name} is not a word of [Peer] that Omerta reads`);
  }
}

function readKey(line: number, name: string, value: string): Uint8Array {
  const key = parseKey(value);
  if (key === undefined) {
    throw fault(line, `${name} has ${value.length} characters, want a key: 44 of base64`);
  }
  return key;
}

function readNumber(line: number, name: string, value: string, least: number): number {
  const number = /^(?:0|[1-9][0-9]{0,4})$/.test(value) ? Number(value) : -1;
  if (number < least || number > 65535) {
    throw fault(line, `${name} is "${value}", want ${least} to 65535`);
  }
  return number;
}

function readList<T>(
  line: number,
  name: string,
  value: string,
  want: string,
  parse: (text: string) => T | undefined,
): T[] {
  if (value === "") return [];
  return value.split(",").map((part) => {
    const item = parse(part.trim());
    if (item === undefined) throw fault(line, `${name} has "${part.trim()}", want ${want}`);
    return item;
  });
}

function parseInterfaceAddress(text: string): InterfaceAddress | undefined {
  const slash = text.indexOf("/");
  // The length of a prefix whose bits are all zero is judged on its own.
  const length = slash < 0 ? undefined : parseIpv4Prefix(`0.0.0.0${text.slice(slash)}`);
  const address = slash < 0 ? undefined : parseIpv4(text.slice(0, slash));
  return length && address !== undefined ? { address, bits: length.bits } : undefined;
}

/** `1.2.3.4:51820` or `[fe80::1]:51820`; undefined when it is anything else. */
export function parseEndpoint(text: string): Endpoint | undefined {
  const found = /^(?:\[([0-9a-fA-F:.]+)\]|([0-9.]+)):(0|[1-9][0-9]{0,4})$/.exec(text);
  if (found === null) return undefined;
  const [, v6, v4, port] = found;
  if (v6 !== undefined && !v6.includes(":")) return undefined;
  return Endpoint.of(v6 ?? v4 ?? "", Number(port));
}

function once(value: unknown, line: number, name: string): void {
  if (value !== undefined) throw fault(line, `a second ${name}`);
}

function fault(line: number, what: string): OmertaError {
  return new OmertaError(
    "bad-wireguard-config",
    `Cannot read WireGuard configuration, line ${line}: ${what}`,
  );
}
