/**
 * A VPN of the borrower's inside a job's VM (`--vpn-config`).
 *
 * The file is what the borrower's WireGuard server gave to a client, as wg-quick(8) reads it. The VM
 * becomes that client:
 *
 * ```
 * VM: wg1 --(inside wg0, the VM's tunnel)--> this node --(the borrower's own connection)--> server
 * ```
 *
 * The lender's filter lets the VM reach its borrower and nobody else, whatever the file says: were it
 * the file's endpoint that counts, a lender's machine could be aimed at anybody. So the VM's WireGuard
 * talks to this node, and this node, which the borrower answers for, carries the messages to the
 * server. It has no key and cannot read them.
 *
 * In the VM, AllowedIPs become routes: with 0.0.0.0/0 everything but the way back to this node leaves
 * by the VPN. Nothing is let in by it that was not asked for from inside.
 *
 * @module
 */

import type { ApiClient } from "../../lib/api/client.ts";
import { EXIT, messageOf, OmertaError } from "../../lib/core/errors.ts";
import { hostAddress } from "../../lib/node/tunnel_addresses.ts";
import { Endpoint } from "../../net/os/endpoint.ts";
import { ipv4ToString, parseIpv4, parseIpv4Prefix } from "../../net/wire/ip_address.ts";
import {
  type ConfigPeer,
  emitConfig,
  parseConfig,
  type WireGuardConfig,
} from "../../net/wireguard/config_text.ts";
import { formatKey, publicKeyOf } from "../../net/wireguard/keys.ts";
import type { Guest } from "./guest.ts";

/** UDP port of wg1 in the VM, below those that a kernel gives out by itself. */
const GUEST_PORT = 21_820;
/** Largest MTU of wg1, in bytes: 1400 of the tunnel that it is in, less WireGuard's 60. */
const MAX_MTU = 1340;
/** Keepalive when the file has none, in s: it is what begins the first handshake. */
const KEEPALIVE_S = 25;
/** Longest file, in characters. */
const MAX_FILE_CHARS = 64 * 1024;
/** The script's exit codes: the image lacks a program; the server does not answer. */
const LACKS = 3;
const SILENT = 4;
/** Networks that the VM needs for its own tunnel: 10.0.0.0/16 and its cable. */
const RESERVED = ["10.0.0.0/16", "192.168.100.0/24"].flatMap((text) => parseIpv4Prefix(text) ?? []);

/** A file that was read and can be used: one peer, which has an endpoint. */
export interface VpnConfig {
  /** The file. */
  readonly path: string;
  /** What is in it. */
  readonly config: WireGuardConfig;
  /** The server. */
  readonly server: ConfigPeer & { readonly endpoint: Endpoint };
}

/**
 * Reads a file and refuses what cannot be used.
 *
 * @throws {OmertaError} `bad-vpn-config`, with the line where there is one; keys are never quoted.
 */
export async function readVpnConfig(path: string): Promise<VpnConfig> {
  let text: string;
  try {
    text = await Deno.readTextFile(path);
  } catch (error) {
    throw unusable(path, `cannot read it: ${messageOf(error)}`);
  }
  if (text.length > MAX_FILE_CHARS) throw unusable(path, `it has ${text.length} characters`);
  return vpnConfigOf(path, text);
}

/** The same, of the text of a file. */
export function vpnConfigOf(path: string, text: string): VpnConfig {
  let config: WireGuardConfig;
  try {
    config = parseConfig(text);
  } catch (error) {
    throw unusable(path, messageOf(error).replace("Cannot read WireGuard configuration, ", ""));
  }
  const [server, ...others] = config.peers;
  if (!server || others.length > 0) {
    throw unusable(path, `it has ${config.peers.length} [Peer] sections, want one: the server`);
  }
  const { endpoint, allowedIps } = server;
  if (!endpoint || endpoint.port === 0) throw unusable(path, "the [Peer] has no Endpoint");
  if (allowedIps.length === 0) throw unusable(path, "the [Peer] has no AllowedIPs");
  if (config.addresses.length === 0) throw unusable(path, "the [Interface] has no Address");
  if (!isOneHost(endpoint)) throw unusable(path, `Endpoint ${endpoint} is not one host's`);
  const hosts = config.addresses.map(({ address }) => ({ address, bits: 32 }));
  for (const { address, bits } of [...allowedIps, ...hosts]) {
    const inside = RESERVED.find((own) => bits >= own.bits && sameNetwork(address, own));
    if (!inside) continue;
    throw unusable(
      path,
      `${ipv4ToString(address)}/${bits} lies in ${ipv4ToString(inside.address)}/${inside.bits}, ` +
        "which the VM needs for its own tunnel",
    );
  }
  return { path, config, server: { ...server, endpoint } };
}

function sameNetwork(
  address: number,
  { address: network, bits }: typeof RESERVED[number],
): boolean {
  const mask = (0xffffffff << (32 - bits)) >>> 0;
  return ((address & mask) >>> 0) === network;
}

/** Whether an endpoint can be a server's: neither 0.0.0.0 nor multicast nor broadcast. */
function isOneHost({ address }: Endpoint): boolean {
  const v4 = parseIpv4(address);
  if (v4 === undefined) return address !== "::" && !address.toLowerCase().startsWith("ff");
  return v4 >>> 24 !== 0 && v4 >>> 28 < 14;
}

function unusable(path: string, reason: string): OmertaError {
  return new OmertaError("bad-vpn-config", `Cannot use --vpn-config '${path}': ${reason}`, {
    exit: EXIT.usage,
    next: "Want one [Interface] with PrivateKey and Address, one [Peer] with PublicKey, Endpoint " +
      "(an address and a port) and AllowedIPs; IPv4 inside; nothing that runs commands",
  });
}

/**
 * What the VM's root shell is given: raises wg1 and waits until the server has answered. It ends with
 * 0, or says on standard error what is wrong.
 *
 * @param endpoint What the VM reaches the server by: `address:port` of this node.
 */
export function vpnScript({ config, server }: VpnConfig, endpoint: string): string {
  const [address = "", port = ""] = endpoint.split(":");
  const at = Endpoint.of(address, Number(port));
  if (!at) throw new TypeError(`Cannot use ${endpoint} as an endpoint`);
  const { dns = [], ...rest } = config;
  const text = emitConfig({
    ...rest,
    listenPort: GUEST_PORT,
    mtu: Math.min(config.mtu ?? MAX_MTU, MAX_MTU),
    peers: [{ ...server, endpoint: at, keepaliveSeconds: server.keepaliveSeconds ?? KEEPALIVE_S }],
  });
  const nameservers = dns.map((one) => `nameserver ${ipv4ToString(one)}\n`).join("");
  return `set -eu
for program in wg wg-quick nft; do
  command -v "$program" >/dev/null || { echo "the image has no $program" >&2; exit ${LACKS}; }
done
# The way back to the borrower stays what it is, whatever routes follow.
ip route replace ${hostAddress(0)}/16 dev wg0
umask 077
cat >/etc/wireguard/wg1.conf <<'END'
${text}END
if nft list table inet omerta >/dev/null 2>&1; then
  nft insert rule inet omerta output oifname wg1 accept
fi
wg-quick up wg1 >/run/omerta-wg1.log 2>&1 || { tail -n 3 /run/omerta-wg1.log >&2; exit 1; }
${
    nameservers === ""
      ? ""
      : `rm -f /etc/resolv.conf\ncat >/etc/resolv.conf <<'END'\n${nameservers}END\nchmod 644 /etc/resolv.conf\n`
  }tries=0
until [ "$(wg show wg1 latest-handshakes | cut -f 2)" != 0 ]; do
  tries=$((tries + 1))
  [ "$tries" -le 100 ] || { echo "the server has not answered" >&2; exit ${SILENT}; }
  sleep 0.2
done
`;
}

/**
 * Brings a VPN up in a VM.
 *
 * @throws {OmertaError} `vpn-failed`, `vpn-silent` or `vpn-missing`.
 */
export async function bringUpVpn(
  guest: Pick<Guest, "vm" | "try">,
  vpn: VpnConfig,
  daemon: Pick<ApiClient, "setServer">,
): Promise<void> {
  const { config, server, path } = vpn;
  const { endpoint } = await daemon.setServer(guest.vm.id, {
    publicKey: formatKey(publicKeyOf(config.privateKey)),
    port: GUEST_PORT,
    address: server.endpoint.address,
    serverPort: server.endpoint.port,
  });
  // On standard input: the script holds the private key, which has no place on a command line.
  const { code, stderr } = await guest.try("sudo sh -s", vpnScript(vpn, endpoint));
  if (code === 0) return;
  const what = `Cannot bring up the VPN of ${path} in VM "${guest.vm.name}"`;
  const reason = stderr.trim().split("\n").slice(-3).join("; ") || `exit code ${code}`;
  if (code === SILENT) {
    throw new OmertaError("vpn-silent", `${what}: ${server.endpoint} has not answered in 20 s`, {
      exit: EXIT.unreachable,
      next: "Check the keys in the file, and that this machine reaches the server",
    });
  }
  throw new OmertaError(code === LACKS ? "vpn-missing" : "vpn-failed", `${what}: ${reason}`, {
    ...(code === LACKS ? { exit: EXIT.missing } : {}),
    ...(code === LACKS ? { next: "Use an image that 'omerta image build' has made" } : {}),
  });
}
