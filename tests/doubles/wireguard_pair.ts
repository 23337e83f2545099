/**
 * Two WireGuard devices joined by a wire that a test can cut, reorder and copy. Time stands still
 * unless the test moves it.
 *
 * @module
 */

import { Endpoint } from "../../net/os/endpoint.ts";
import { type Ipv4Prefix, parseIpv4, parseIpv4Prefix } from "../../net/wire/ip_address.ts";
import { Device, type DeviceOptions } from "../../net/wireguard/device.ts";
import { MemoryDatagramSink, MemoryPacketSink } from "./memory_sink.ts";

/** An address and port of documentation space (RFC 5737). */
export function endpoint(text: string): Endpoint {
  const [address = "", port = ""] = text.split(":");
  const found = Endpoint.of(address, Number(port));
  if (found === undefined) throw new Error(`Cannot use endpoint ${text}`);
  return found;
}

/** A prefix. */
export function prefix(text: string): Ipv4Prefix {
  const found = parseIpv4Prefix(text);
  if (found === undefined) throw new Error(`Cannot use prefix ${text}`);
  return found;
}

/** An IPv4 packet of `size` bytes whose content is `fill`; checksums are not filled in. */
export function packet(source: string, destination: string, size = 100, fill = 0x5a): Uint8Array {
  const bytes = new Uint8Array(size).fill(fill);
  const view = new DataView(bytes.buffer);
  bytes[0] = 0x45;
  view.setUint16(2, size);
  view.setUint32(12, parseIpv4(source) ?? 0);
  view.setUint32(16, parseIpv4(destination) ?? 0);
  return bytes;
}

/** Bytes that look random and are the same in every run. */
export function pseudoRandom(seed: number): (length: number) => Uint8Array {
  let state = seed | 1;
  return (length) =>
    Uint8Array.from({ length }, () => {
      // xorshift32
      state ^= state << 13;
      state ^= state >>> 17;
      state ^= state << 5;
      return state & 0xff;
    });
}

/** A device with its sinks. */
export interface Node {
  /** The device. */
  readonly device: Device;
  /** What it has sent. */
  readonly out: MemoryDatagramSink;
  /** What it has received. */
  readonly inner: MemoryPacketSink;
  /** `handshake` and `roamed`, as they came. */
  readonly events: string[];
  /** Where its datagrams come from; a test may change it. */
  address: Endpoint;
}

/** Makes a node with a key of its own. */
export function node(
  seed: number,
  address: string,
  now: number,
  options: Partial<DeviceOptions> = {},
): Node {
  const out = new MemoryDatagramSink();
  const inner = new MemoryPacketSink();
  const events: string[] = [];
  const device = new Device({
    privateKey: new Uint8Array(32).fill(seed),
    out,
    inner,
    now,
    random: pseudoRandom(seed * 7919),
    onEvent: (_key, kind, at) => events.push(`${kind} ${at}`),
    ...options,
  });
  return { device, out, inner, events, address: endpoint(address) };
}

/** Two nodes that are each other's peer, `left` 10.0.0.1 and `right` 10.0.0.2. */
export class Pair implements Disposable {
  /** The time, in ms since 1970. */
  now = 1_700_000_000_000;
  /** 10.0.0.1; knows where right is. */
  readonly left: Node;
  /** 10.0.0.2; does not know where left is. */
  readonly right: Node;

  /** @param options Of both devices; `psk` of the peers. */
  constructor(
    options: {
      readonly left?: Partial<DeviceOptions>;
      readonly right?: Partial<DeviceOptions>;
      readonly leftPsk?: Uint8Array;
      readonly rightPsk?: Uint8Array;
      readonly keepaliveSeconds?: number;
    } = {},
  ) {
    this.left = node(1, "192.0.2.1:1000", this.now, options.left);
    this.right = node(2, "192.0.2.2:2000", this.now, options.right);
    this.left.device.addPeer({
      publicKey: this.right.device.publicKey,
      endpoint: this.right.address,
      allowedIps: [prefix("10.0.0.2/32")],
      ...(options.leftPsk ? { presharedKey: options.leftPsk } : {}),
      ...(options.keepaliveSeconds ? { keepaliveSeconds: options.keepaliveSeconds } : {}),
    });
    this.right.device.addPeer({
      publicKey: this.left.device.publicKey,
      allowedIps: [prefix("10.0.0.1/32")],
      ...(options.rightPsk ? { presharedKey: options.rightPsk } : {}),
    });
  }

  /** Takes what `from` has sent off the wire. */
  take(from: Node): Uint8Array[] {
    return from.out.take().map((datagram) => datagram.payload);
  }

  /** Hands one datagram to `to`, as if it came from where `from` is. */
  give(from: Node, to: Node, bytes: Uint8Array): void {
    // Not at the beginning of an array, so that a forgotten offset shows.
    const buffer = new Uint8Array(bytes.length + 64).fill(0xa5);
    buffer.set(bytes, 11);
    const names = new Uint8Array(64).fill(0xa5);
    names.set(from.address.sockaddr, 28);
    to.device.receive(buffer, 11, bytes.length, names, 28, this.now);
  }

  /** Carries datagrams both ways until there are none. The number carried. */
  settle(): number {
    let carried = 0;
    for (let round = 0; round < 10; round++) {
      for (const [from, to] of [[this.left, this.right], [this.right, this.left]] as const) {
        for (const bytes of this.take(from)) {
          this.give(from, to, bytes);
          carried++;
        }
      }
    }
    return carried;
  }

  /** Feeds a packet to a node. */
  send(from: Node, bytes: Uint8Array): void {
    from.device.setNow(this.now);
    const at = from.device.outbound.reserve(bytes.length);
    if (at < 0) return;
    from.device.outbound.buffer.set(bytes, at);
    from.device.outbound.commit(bytes.length);
    from.device.outbound.flush();
  }

  /** Feeds a packet from left to right, carries it, and returns what right has got. */
  leftToRight(size = 100, fill = 0x5a): Uint8Array[] {
    this.send(this.left, packet("10.0.0.1", "10.0.0.2", size, fill));
    this.settle();
    return this.right.inner.take();
  }

  /** The other way. */
  rightToLeft(size = 100, fill = 0x5a): Uint8Array[] {
    this.send(this.right, packet("10.0.0.2", "10.0.0.1", size, fill));
    this.settle();
    return this.left.inner.take();
  }

  /**
   * Moves time by `ms`, stopping at every deadline of either device. Datagrams are carried unless
   * `cut` says so; then they are thrown away.
   */
  advance(ms: number, cut = false): void {
    const end = this.now + ms;
    for (;;) {
      const due = Math.min(this.left.device.tick(this.now), this.right.device.tick(this.now));
      if (cut) {
        this.take(this.left);
        this.take(this.right);
      } else this.settle();
      if (this.now >= end) return;
      this.now = Math.min(end, Math.max(due, this.now + 1));
    }
  }

  /** Closes both devices. */
  [Symbol.dispose](): void {
    this.left.device.close();
    this.right.device.close();
  }
}
