/**
 * Anything from inside and from outside, in any order: packets of a guest, datagrams of strangers,
 * answers to pings that nobody has sent. Nothing throws, every cap holds, and nothing reaches the inside
 * but from whom it has sent to.
 *
 * @module
 */

import assert from "node:assert/strict";
import fc from "fast-check";
import { parseIcmp } from "../wire/icmp.ts";
import { parseIpv4Packet, PROTOCOL } from "../wire/ipv4.ts";
import { readU16 } from "../wire/bytes.ts";
import { Gateway } from "./gateway.ts";
import { echo, GUEST, Inside, SERVER } from "./gateway_fixture.ts";
import { MAX_OF_SOURCE, WAIT_MS } from "./outward_echo.ts";

const LIMITS = { mappings: 6, perSource: 3, idleMs: 5000 };

const guest = fc.integer({ min: 0, max: 3 }).map((i) => GUEST + i);
const port = fc.integer({ min: 1, max: 5 });
const server = fc.integer({ min: 0, max: 3 }).map((i) => SERVER + i);
const bytes = fc.uint8Array({ maxLength: 40 });

const step = fc.oneof(
  fc.record({ kind: fc.constant("send"), from: guest, fromPort: port, to: server, port, bytes }),
  fc.record({ kind: fc.constant("ping"), from: guest, to: server, number: port, bytes }),
  fc.record({
    kind: fc.constant("raw"),
    from: guest,
    to: fc.oneof(server, fc.integer({ min: 0, max: 0xffff_ffff })),
    protocol: fc.constantFrom(PROTOCOL.udp, PROTOCOL.icmp),
    bytes,
  }),
  fc.record({
    kind: fc.constant("arrive"),
    socket: fc.nat(LIMITS.mappings - 1),
    from: fc.oneof(server, fc.integer({ min: 0, max: 0xffff_ffff })),
    port: fc.integer({ min: 0, max: 65535 }),
    bytes,
  }),
  fc.record({
    kind: fc.constant("answer"),
    from: fc.oneof(server, fc.integer({ min: 0, max: 0xffff_ffff })),
    request: fc.option(fc.nat(10)),
    bytes,
  }),
  fc.record({ kind: fc.constant("time"), ms: fc.integer({ min: 0, max: 3000 }) }),
);

Deno.test("G1: Gateway bears anything from both sides, and lets in only whom was sent to", () => {
  let letIn = 0;
  let answered = 0;
  let strangers = 0;
  fc.assert(
    fc.property(fc.array(step, { maxLength: 80, size: "max" }), (steps) => {
      const inside = new Inside();
      const { datagrams } = inside;
      const gateway = new Gateway(inside.loop, inside.link, { datagrams, udp: LIMITS });
      const { udp, echo: pings } = gateway;
      /** Whom each port inside has sent to, and which addresses were pinged by whom. */
      const met = new Set<string>();
      const pinged = new Set<string>();
      for (const one of steps) {
        switch (one.kind) {
          case "send":
            met.add(`${one.to} ${one.from}:${one.fromPort}`);
            inside.send(one.from, one.fromPort, one.to, one.port, one.bytes.toHex());
            break;
          case "ping":
            pinged.add(`${one.to} ${one.from}`);
            inside.ping(one.from, one.to, one.number, one.number, one.bytes);
            break;
          case "raw":
            // It may happen to be sound.
            met.add(`${one.to} ${one.from}:${readU16(one.bytes, 0)}`);
            pinged.add(`${one.to} ${one.from}`);
            inside.give(one.protocol, one.from, one.to, one.bytes);
            break;
          case "arrive":
            Array.from(datagrams.open).filter((socket) => socket !== datagrams.ping)[one.socket]
              ?.arrive(one.from, one.port, one.bytes);
            break;
          case "answer": {
            const line = one.request === null ? undefined : datagrams.ping?.sent[one.request];
            const number = readU16(Uint8Array.fromHex(line?.split(" ")[1] ?? ""), 6);
            const message = line === undefined ? one.bytes : echo(0, 0, number, one.bytes);
            datagrams.ping?.arrive(one.from, 0, message);
            break;
          }
          case "time":
            inside.turn(one.ms);
        }
        inside.turn();
        assert.ok(udp.mappings <= LIMITS.mappings);
        assert.equal(datagrams.open.size, udp.mappings + 1);
        assert.ok(pings.waiting <= 4 * MAX_OF_SOURCE);
        for (const packet of inside.sink.take()) {
          const ip = parseIpv4Packet(packet);
          assert.ok(typeof ip !== "string");
          const { source, destination, payload } = ip;
          if (ip.protocol === PROTOCOL.udp) {
            letIn++;
            assert.ok(met.has(`${source} ${destination}:${readU16(payload, 2)}`));
          } else {
            const icmp = parseIcmp(payload);
            assert.ok(typeof icmp !== "string");
            if (icmp.type !== 0) continue;
            answered++;
            assert.ok(pinged.has(`${source} ${destination}`));
          }
        }
      }
      strangers += udp.counters.strangers + pings.counters.strangers;
      inside.turn(LIMITS.idleMs + WAIT_MS + 1000);
      assert.deepEqual([udp.mappings, pings.waiting], [0, 0]);
      gateway[Symbol.dispose]();
      assert.equal(datagrams.open.size, 0);
      inside[Symbol.dispose]();
    }),
    { numRuns: 500 },
  );
  // It was neither all refused nor all let in.
  assert.ok(letIn > 0 && answered > 0 && strangers > 0, `${letIn} ${answered} ${strangers}`);
});
