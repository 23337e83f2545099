/**
 * Packets of a stranger that are sound on the outside and anything on the inside: UDP, ICMP and its
 * errors, fragments of all of them. Nothing throws, and every cap holds.
 *
 * @module
 */

import assert from "node:assert/strict";
import { Random } from "../../tests/doubles/random.ts";
import { viewOf } from "../wire/bytes.ts";
import { nativeSum } from "../wire/checksum.ts";
import { ICMP } from "../wire/icmp.ts";
import { IPV4_MF, PROTOCOL, writeIpv4 } from "../wire/ipv4.ts";
import { writeUdp } from "../wire/udp.ts";
import { MAX_DATAGRAMS, PLACE_BYTES } from "./fragments.ts";
import { End, LEFT, RIGHT } from "./pair_fixture.ts";
import { WAITING } from "./_udp_queue.ts";

/** Packets; the long task sets more. */
const PACKETS = Number(Deno.env.get("OMERTA_FUZZ_TCP_PACKETS") ?? 30_000);
/** Echo replies, and resets and ICMP errors, in a second (limits.ts). */
const ECHOES = 1000;
const ANSWERS = 500;

/** A packet whose header is sound, most of the time, and whose payload looks like something. */
class Stranger {
  readonly #random: Random;
  readonly #buffer = new Uint8Array(2100);
  readonly #view = viewOf(this.#buffer);
  /** What the next piece is to go on with. */
  #begun: { from: number; protocol: number; id: number; units: number } | undefined;

  constructor(random: Random) {
    this.#random = random;
  }

  next(): Uint8Array {
    const random = this.#random;
    const buffer = this.#buffer;
    const header = random.pick([20, 20, 20, 24, 60]);
    const small = random.pick([0, 7, 8, 8, 16, 16]);
    const size = random.below(2) === 0 ? small : random.below(random.pick([100, 2000]));
    for (let i = 0; i < header + size; i++) buffer[i] = random.below(256);
    const begun = this.#begun;
    this.#begun = undefined;
    const { from, protocol, id } = begun ?? this.#kind();
    if (size >= 8 && protocol === PROTOCOL.udp) this.#udp(header, size, from);
    if (size >= 8 && protocol === PROTOCOL.icmp) this.#icmp(header, size, protocol);
    writeIpv4(buffer, 0, from, RIGHT, protocol, header + size, id);
    buffer[0] = 0x40 | header / 4;
    if (begun !== undefined) this.#view.setUint16(6, begun.units);
    else if (random.below(3) === 0) {
      const units = random.below(2) === 0 ? 0 : random.pick([random.below(3), random.below(8192)]);
      this.#view.setUint16(6, (random.below(3) === 0 ? 0 : IPV4_MF) | units);
      // Often the rest of what begins so comes next.
      if (units === 0 && random.below(2) === 0) {
        this.#begun = { from, protocol, id, units: size >> 3 };
      }
    }
    this.#view.setUint16(10, 0);
    this.#view.setUint16(10, ~nativeSum(this.#view, 0, header), true);
    for (let n = random.below(8) === 0 ? 3 : 0; n > 0; n--) {
      buffer[random.below(header + size)] = random.below(256);
    }
    return buffer.subarray(0, header + size);
  }

  #kind(): { from: number; protocol: number; id: number } {
    const random = this.#random;
    const known = random.pick([PROTOCOL.udp, PROTOCOL.icmp, PROTOCOL.tcp]);
    return {
      from: random.pick([LEFT, LEFT + 16 + random.below(40), random.below(2 ** 32)]),
      protocol: random.below(5) === 0 ? random.below(256) : known,
      id: random.below(random.pick([10, 1000])),
    };
  }

  #udp(at: number, size: number, from: number): void {
    const random = this.#random;
    const port = random.pick([53, 54, random.below(65536)]);
    const length = random.below(4) === 0 ? random.below(65000) : size - 8;
    if (length > size - 8) this.#view.setUint16(at + 4, length);
    else writeUdp(this.#buffer, at, from, random.below(65536), RIGHT, port, length);
  }

  /** An echo, its answer, or an error about something that we may have sent. */
  #icmp(at: number, size: number, protocol: number): void {
    const random = this.#random;
    const view = this.#view;
    const known = [ICMP.echoRequest, ICMP.echoReply, ICMP.unreachable, ICMP.timeExceeded] as const;
    view.setUint8(at, random.below(5) === 0 ? random.below(256) : random.pick(known));
    view.setUint8(at + 1, random.below(16));
    if (size >= 36 && random.below(2) === 0) {
      const quoted = random.pick([PROTOCOL.tcp, PROTOCOL.udp, protocol]);
      writeIpv4(this.#buffer, at + 8, RIGHT, LEFT, quoted, random.below(65536), 1);
    }
    view.setUint16(at + 2, 0);
    view.setUint16(at + 2, ~nativeSum(view, at, size), true);
  }
}

Deno.test("L6: Stack.input() bears a stranger's UDP, ICMP and fragments, and every cap holds", () => {
  const random = new Random(11);
  const stranger = new Stranger(random);
  const end = new End(RIGHT, 1400, 3);
  const { stack, udp, pinger } = end;
  let told = 0;
  let errors = 0;
  const handler = { onDatagram: () => void told++, onError: () => void errors++ };
  for (const port of [53, 54]) assert.ok(typeof udp.bind({ port, handler }) !== "string");
  stack.listen({ port: 80, onSyn: (pending) => void pending.accept({}) });
  const connection = stack.connect({ to: LEFT, port: 80, handler: {} });
  assert.ok(typeof connection !== "string");
  let now = 1000;
  const begun = now;
  let pings = 0;
  for (let i = 0; i < PACKETS; i++) {
    const packet = stranger.next();
    stack.input(packet, 0, packet.length, now);
    assert.ok(stack.fragments.waiting <= MAX_DATAGRAMS);
    if (random.below(200) === 0) {
      pinger.send(LEFT, { timeoutMs: 100 }, now, () => void pings++);
      now += random.below(100);
      const before = told;
      stack.flush(now);
      assert.ok(told - before <= WAITING);
      stack.tick(now);
      end.sink.take();
    }
  }
  stack.flush(now);
  stack.tick(now + 60_000);
  const { counters, fragments, use } = stack;
  const seconds = Math.ceil((now - begun) / 1000) + 1;
  // It was not all refused at the door.
  assert.ok(told > PACKETS / 100 && fragments.counters.whole > 0, `${told} datagrams`);
  assert.ok(counters.echoes > 0 && counters.echoes <= ECHOES * seconds);
  assert.ok(counters.icmpErrorsOut > 0 && counters.icmpErrorsOut <= ANSWERS * seconds);
  assert.ok(counters.icmpIgnored > 0 && counters.badSource > 0 && udp.counters.noSocket > 0);
  assert.ok(fragments.counters.evicted > 0 && fragments.counters.overlaps > 0);
  assert.equal(fragments.waiting, 0);
  assert.ok(pings > 0);
  assert.ok(use.connections <= 1);
  assert.deepEqual([use.pending, use.bufferBytes], [0, 0]);
});

Deno.test("L6: fragments of strangers take no more memory than is documented", () => {
  // docs/tcp.md, "Limits".
  assert.equal((MAX_DATAGRAMS * PLACE_BYTES / 1024 / 1024).toFixed(1), "4.5");
});
