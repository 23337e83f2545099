/**
 * A WireGuard node for the interop tests: the device on a UDP socket, and behind it a host that
 * answers and sends ICMP echo requests. Runs inside a network namespace.
 *
 * ```
 * deno run -A wireguard_node.ts CONFIGURATION      # see NodeConfig, as JSON
 * ```
 *
 * Commands, one line each on standard input: `ping ADDRESS [SOURCE]`, `rebind PORT`, `stats`, `quit`.
 * Events, one JSON object a line on standard output: see {@link NodeEvent}.
 *
 * @module
 */

import { linesOf } from "./_lines.ts";
import { Endpoint } from "../../net/os/endpoint.ts";
import { checksum } from "../../net/wire/checksum.ts";
import { ipv4ToString, parseIpv4, parseIpv4Prefix } from "../../net/wire/ip_address.ts";
import { parseEndpoint } from "../../net/wireguard/config_text.ts";
import type { Timing } from "../../net/wireguard/constants.ts";
import { Device } from "../../net/wireguard/device.ts";
import { parseKey } from "../../net/wireguard/keys.ts";
import { MemoryDatagramSink, MemoryPacketSink } from "../doubles/memory_sink.ts";

/** What the node is started with. Keys are base64. */
export interface NodeConfig {
  /** Our private key. */
  readonly privateKey: string;
  /** Our inner IPv4 address. */
  readonly address: string;
  /** Our UDP port. */
  readonly port: number;
  /** The peer's public key. */
  readonly publicKey: string;
  /** The key both know. */
  readonly presharedKey: string;
  /** The peer's inner addresses. */
  readonly allowedIps: string;
  /** Where the peer is. */
  readonly endpoint?: string;
  /** Interval of persistent keepalives in s. */
  readonly keepaliveSeconds?: number;
  /** Times of the protocol that are not as specified. */
  readonly timing?: Partial<Timing>;
  /** Handshake messages per second above which cookies are asked for. */
  readonly handshakesPerSecond?: number;
}

/** What the node says. */
export interface NodeEvent {
  /** What happened. */
  readonly event: "listening" | "handshake" | "roamed" | "request" | "reply" | "stats";
  /** Source address of an echo request or reply, endpoint of a handshake. */
  readonly from?: string;
  /** Of `stats`: bytes received and sent, and all counters that are not 0. */
  readonly stats?: Readonly<Record<string, number>>;
}

const ICMP_AT = 20;
const ECHO_REPLY = 0;
const ECHO_REQUEST = 8;

function say(event: NodeEvent): void {
  Deno.stdout.writeSync(new TextEncoder().encode(`${JSON.stringify(event)}\n`));
}

function must<T>(value: T | undefined, what: string): T {
  if (value === undefined) throw new Error(`Cannot start the node: bad ${what}`);
  return value;
}

class InteropNode {
  readonly #out = new MemoryDatagramSink();
  readonly #inner = new MemoryPacketSink();
  readonly #device: Device;
  readonly #own: number;
  #socket: Deno.DatagramConn;
  #timer: ReturnType<typeof setTimeout> | undefined;
  #sequence = 0;

  constructor(config: NodeConfig) {
    this.#own = must(parseIpv4(config.address), "address");
    this.#device = new Device({
      privateKey: must(parseKey(config.privateKey), "private key"),
      out: this.#out,
      inner: this.#inner,
      now: Date.now(),
      onEvent: (_key, event, endpoint) => say({ event, from: String(endpoint) }),
      ...(config.timing ? { timing: config.timing } : {}),
      ...(config.handshakesPerSecond === undefined
        ? {}
        : { handshakesPerSecond: config.handshakesPerSecond }),
    });
    this.#device.addPeer({
      publicKey: must(parseKey(config.publicKey), "public key"),
      presharedKey: must(parseKey(config.presharedKey), "preshared key"),
      allowedIps: [must(parseIpv4Prefix(config.allowedIps), "allowed IPs")],
      ...(config.endpoint ? { endpoint: must(parseEndpoint(config.endpoint), "endpoint") } : {}),
      ...(config.keepaliveSeconds ? { keepaliveSeconds: config.keepaliveSeconds } : {}),
    });
    this.#socket = this.#listen(config.port);
    say({ event: "listening" });
    this.#pump();
  }

  async command(line: string): Promise<boolean> {
    const [word, first = "", second] = line.split(" ");
    if (word === "quit") {
      clearTimeout(this.#timer);
      this.#socket.close();
      this.#device.close();
      return false;
    }
    if (word === "ping") {
      const source = second === undefined ? this.#own : must(parseIpv4(second), "source");
      this.#feed(this.#echoRequest(source, must(parseIpv4(first), "address")));
    } else if (word === "rebind") {
      this.#socket.close();
      this.#socket = this.#listen(Number(first));
    } else if (word === "stats") say({ event: "stats", stats: this.#stats() });
    await this.#pump();
    return true;
  }

  #listen(port: number): Deno.DatagramConn {
    const socket = Deno.listenDatagram({ transport: "udp", hostname: "0.0.0.0", port });
    this.#receive(socket);
    return socket;
  }

  async #receive(socket: Deno.DatagramConn): Promise<void> {
    for await (const [bytes, from] of socket) {
      if (from.transport !== "udp") continue;
      const names = must(Endpoint.of(from.hostname, from.port), "source").sockaddr;
      this.#device.receive(bytes, 0, bytes.length, names, 0, Date.now());
      await this.#pump();
    }
  }

  /** Answers what came in, does what is due, sends what is to go out. */
  async #pump(): Promise<void> {
    for (const packet of this.#inner.take()) this.#answer(packet);
    const due = this.#device.tick(Date.now());
    for (const { payload, to } of this.#out.take()) {
      await this.#socket.send(payload, { transport: "udp", hostname: to.address, port: to.port });
    }
    clearTimeout(this.#timer);
    if (due === Infinity) return;
    this.#timer = setTimeout(() => this.#pump(), Math.max(1, due - Date.now()));
  }

  #answer(packet: Uint8Array): void {
    const view = new DataView(packet.buffer, packet.byteOffset, packet.length);
    if (packet[9] !== 1) return;
    const source = view.getUint32(12);
    if (packet[ICMP_AT] === ECHO_REPLY) say({ event: "reply", from: ipv4ToString(source) });
    if (packet[ICMP_AT] !== ECHO_REQUEST) return;
    say({ event: "request", from: ipv4ToString(source) });
    view.setUint32(12, view.getUint32(16));
    view.setUint32(16, source);
    packet[ICMP_AT] = ECHO_REPLY;
    view.setUint16(ICMP_AT + 2, 0);
    view.setUint16(ICMP_AT + 2, checksum(packet, ICMP_AT, packet.length - ICMP_AT));
    this.#feed(packet);
  }

  #echoRequest(source: number, destination: number): Uint8Array {
    const packet = new Uint8Array(ICMP_AT + 8 + 32).fill(0x5a, ICMP_AT + 8);
    const view = new DataView(packet.buffer);
    packet[0] = 0x45;
    view.setUint16(2, packet.length);
    packet[8] = 64;
    packet[9] = 1;
    view.setUint32(12, source);
    view.setUint32(16, destination);
    view.setUint16(10, checksum(packet, 0, ICMP_AT));
    packet[ICMP_AT] = ECHO_REQUEST;
    view.setUint16(ICMP_AT + 6, ++this.#sequence);
    view.setUint16(ICMP_AT + 2, checksum(packet, ICMP_AT, packet.length - ICMP_AT));
    return packet;
  }

  #feed(packet: Uint8Array): void {
    this.#device.setNow(Date.now());
    const { outbound } = this.#device;
    const at = outbound.reserve(packet.length);
    if (at < 0) return;
    outbound.buffer.set(packet, at);
    outbound.commit(packet.length);
    outbound.flush();
  }

  #stats(): Record<string, number> {
    const [peer] = this.#device.stats();
    const counters = Object.entries({ ...this.#device.counters }).filter(([, count]) => count > 0);
    return { rx: peer?.rxBytes ?? 0, tx: peer?.txBytes ?? 0, ...Object.fromEntries(counters) };
  }
}

if (import.meta.main) {
  const node = new InteropNode(JSON.parse(Deno.args[0] ?? "{}"));
  for await (const line of linesOf(Deno.stdin.readable)) if (!await node.command(line)) break;
}
