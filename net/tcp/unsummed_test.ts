import assert from "node:assert/strict";
import { Random } from "../../tests/doubles/random.ts";
import type { PacketSink } from "../os/sink.ts";
import { viewOf } from "../wire/bytes.ts";
import { nativePseudoSum } from "../wire/checksum.ts";
import { TCP_CHECKSUM } from "../wire/tcp.ts";
import type { TcpConnection } from "./connection.ts";
import { Inlet } from "./inlet.ts";
import { Stack } from "./stack.ts";

const A = 0x0a000001;
const B = 0x0a000002;

/** Takes segments without a checksum, and nothing else of TCP. */
class UnsummedSink implements PacketSink {
  readonly buffer = new Uint8Array(65536);
  readonly packets: Uint8Array[] = [];
  reserve(): number {
    return 0;
  }
  commit(): void {
    assert.fail("a segment with a checksum");
  }
  commitUnsummed(length: number): void {
    this.packets.push(this.buffer.slice(0, length));
  }
  flush(): void {}
}

function stackOn(address: number, out: PacketSink): Stack {
  const random = new Random(address);
  const bytes = (length: number): Uint8Array => new Uint8Array(length).map(() => random.below(256));
  return new Stack({ address, mtu: 1500, out, random: bytes, now: 0 });
}

/** Hands everything over, with the checksum trusted or looked at; how many packets. */
function pass(from: UnsummedSink, to: Stack, trusted: boolean): number {
  const inlet = new Inlet(to);
  const packets = from.packets.splice(0);
  for (const packet of packets) {
    if (trusted) inlet.takeWhole(packet, 0, packet.length);
    else to.input(packet, 0, packet.length, 0);
  }
  inlet.flush();
  return packets.length;
}

Deno.test("a stack leaves checksums to a sink that makes them, and takes such segments whole", () => {
  const [ab, ba] = [new UnsummedSink(), new UnsummedSink()];
  const [a, b] = [stackOn(A, ab), stackOn(B, ba)];
  const sent = new Uint8Array(30_000).map((_, i) => i * 7);
  const received: number[] = [];
  const scratch = new Uint8Array(65536);
  const onReadable = (c: TcpConnection): void => {
    received.push(...scratch.subarray(0, c.read(scratch)));
  };
  b.listen({ port: 80, onSyn: (pending) => void pending.accept({ onReadable }) });
  const made = a.connect({ to: B, port: 80, handler: {} });
  assert.ok(typeof made !== "string");
  made.write(sent);
  a.flush(0);
  let moved = 1;
  for (let turns = 0; moved > 0 && turns < 100; turns++) {
    for (const packet of ab.packets) {
      const view = viewOf(packet);
      const sum = nativePseudoSum(view, 0, packet.length - 20);
      assert.equal(view.getUint16(20 + TCP_CHECKSUM, true), sum);
    }
    moved = pass(ab, b, true) + pass(ba, a, true);
  }
  assert.deepEqual(Uint8Array.from(received), sent);
});

Deno.test("a stack refuses a segment without a checksum unless it is told that it is sound", () => {
  const [ab, ba] = [new UnsummedSink(), new UnsummedSink()];
  const [a, b] = [stackOn(A, ab), stackOn(B, ba)];
  let syns = 0;
  b.listen({ port: 80, onSyn: () => void syns++ });
  for (const trusted of [false, true]) {
    a.connect({ to: B, port: 80, handler: {} });
    a.flush(0);
    assert.equal(pass(ab, b, trusted), 1);
    assert.deepEqual([b.counters.badChecksum, syns], [1, trusted ? 1 : 0]);
  }
});
