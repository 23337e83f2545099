/**
 * Packets of 1400 bytes: sealed and opened by each implementation, and through two whole devices.
 *
 * ```
 * deno bench -A net/wireguard/device_bench.ts
 * ```
 *
 * @module
 */

import { Endpoint } from "../os/endpoint.ts";
import type { DatagramSink, PacketSink } from "../os/sink.ts";
import { parseIpv4Prefix } from "../wire/ip_address.ts";
import { nobleAead } from "./aead_noble.ts";
import { nodeAead } from "./aead_node.ts";
import { Device } from "./device.ts";
import { FASTEST_SUITE } from "./suite.ts";

const SIZE = 1400;
const SLOT = 2048;
const SLOTS = 64;
const NOW = 1_700_000_000_000;

/** Keeps the last packets in a ring, without a copy. */
class Ring implements PacketSink, DatagramSink {
  readonly buffer = new Uint8Array(SLOT * SLOTS);
  readonly lengths = new Uint16Array(SLOTS);
  at = 0;
  count = 0;
  reserve(_size: number): number {
    return this.at;
  }
  commit(length: number): void {
    this.lengths[this.at / SLOT] = length;
    this.at = (this.at + SLOT) % this.buffer.length;
    this.count++;
  }
  flush(): void {}
}

const endpoint = Endpoint.of("192.0.2.1", 1);
const prefix = parseIpv4Prefix("0.0.0.0/0");
if (endpoint === undefined || prefix === undefined) throw new Error("Cannot run the bench");

const buffer = new Uint8Array(SLOT * SLOTS);
const target = new Uint8Array(SLOT * SLOTS);
const key = new Uint8Array(32).fill(7);

for (const aead of new Set([FASTEST_SUITE.aead, nodeAead, nobleAead])) {
  const sealer = aead.sealer(key);
  const opener = aead.opener(key);
  const sealed = new Uint8Array(SLOT);
  sealer.seal(1, buffer, 0, SIZE, sealed, 0);
  let counter = 0;
  Deno.bench(`seal ${SIZE} B, ${aead.name}`, { group: "seal" }, () => {
    const at = (++counter % SLOTS) * SLOT;
    sealer.seal(counter, buffer, at, SIZE, buffer, at);
  });
  Deno.bench(`open ${SIZE} B, ${aead.name}`, { group: "open" }, () => {
    const at = (++counter % SLOTS) * SLOT;
    if (!opener.open(1, sealed, 0, SIZE + 16, target, at)) throw new Error("Cannot open");
  });
}

const out = new Ring();
const answers = new Ring();
const inner = new Ring();
const sender = new Device({ privateKey: key, out, inner, now: NOW });
const receiver = new Device({
  privateKey: new Uint8Array(32).fill(8),
  out: answers,
  inner,
  now: NOW,
});
sender.addPeer({ publicKey: receiver.publicKey, allowedIps: [prefix], endpoint });
receiver.addPeer({ publicKey: sender.publicKey, allowedIps: [prefix] });

const header = Uint8Array.of(0x45, 0, SIZE >> 8, SIZE & 255);

function send(): void {
  const at = sender.outbound.reserve(SIZE);
  sender.outbound.buffer.set(header, at);
  sender.outbound.commit(SIZE);
}

function receive(device: Device, from: Ring): void {
  const slot = (from.at / SLOT + SLOTS - 1) % SLOTS;
  const length = from.lengths[slot] ?? 0;
  device.receive(from.buffer, slot * SLOT, length, endpoint?.sockaddr ?? key, 0, NOW);
}

// Initiation, response, first packet.
send();
receive(receiver, out);
receive(sender, answers);
receive(receiver, out);

Deno.bench(`Device.outbound, ${SIZE} B`, { group: "device" }, send);
Deno.bench(`Device.outbound and Device.receive, ${SIZE} B`, { group: "device" }, () => {
  send();
  receive(receiver, out);
});
