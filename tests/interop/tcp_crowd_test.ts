import assert from "node:assert/strict";
import { parseIpv4 } from "../../net/wire/ip_address.ts";
import { testIf } from "../support/requires.ts";
import { until } from "../support/until.ts";
import { crowdMissing, DEVICE, KERNEL, Rig, rigMissing } from "./_tcp_rig.ts";
import type { Served } from "./tcp_crowd.ts";

/** Connections in each direction. */
const COUNT = 5000;
const HALF = COUNT / 2;
const PORT = 5000;
/** Time for all of them to do something, in ms. */
const CROWD_MS = 60_000;

testIf(
  rigMissing ?? crowdMissing(2 * COUNT),
  "L6: 5000 connections each way are open at once with the kernel's TCP, and part",
  async () => {
    await using rig = await Rig.start();
    // The device's queue holds what all of them say at once: a reset that is lost does not come again.
    await rig.space.ip("link", "set", DEVICE, "txqueuelen", String(4 * COUNT));
    const before = await rig.memory();
    {
      await using kernel = await rig.kernelCrowd({
        port: 8,
        resetPort: 12,
        count: COUNT,
        listenPort: PORT,
        served: COUNT,
      });
      const all = { done: COUNT, reset: 0, failed: 0 };
      const to = { to: parseIpv4(KERNEL) ?? 0, port: PORT, count: COUNT };
      assert.deepEqual(await kernel.ask("open"), all);
      assert.deepEqual(await rig.crowd({ crowd: "open", ...to }), all);
      const open = await rig.counters();
      assert.deepEqual([open.connections, open.accepted, open.opened], [2 * COUNT, COUNT, COUNT]);

      // Every one of them is there: it says something, and hears just that again.
      const exchanged = [kernel.ask("exchange"), rig.crowd({ crowd: "exchange" })];
      assert.deepEqual(await Promise.all(exchanged), [all, all]);
      await until(async () => {
        const { connections, bufferBytes } = await rig.counters();
        return connections === 2 * COUNT && bufferBytes === 0;
      }, {
        what: "all of it to be acknowledged, and every connection to be there",
        timeoutMs: CROWD_MS,
      });
      const held = await rig.memory() - before;
      assert.ok(held < 120e6, `${2 * COUNT} idle connections take ${held} bytes`);

      const repeated = await rig.snmp("RetransSegs");
      const halves = { done: HALF, reset: HALF, failed: 0 };
      const parted = [kernel.ask("part"), rig.crowd({ crowd: "part" })];
      assert.deepEqual(await Promise.all(parted), [halves, halves]);
      // Those that the stack has ended first, and no others. When both sides are slow the kernel repeats
      // its FIN, is answered twice, and ends some early by its reset (RFC 1337 section 2): at most as
      // many as it has repeated segments.
      const { timeWaits = NaN } = await rig.counters();
      const early = await rig.snmp("RetransSegs") - repeated;
      const words = `${timeWaits} in TIME-WAIT, ${early} segments repeated`;
      assert.ok(timeWaits <= HALF && timeWaits >= HALF - early, words);
      await until(async () => {
        const { accepted, ended, reset } = await kernel.ask<Served>("served");
        return accepted === COUNT && ended === HALF && reset === HALF;
      }, {
        what: "the kernel's side to hear of every end and every reset",
        timeoutMs: CROWD_MS,
      });
    }

    const after = await until(async () => {
      const now = await rig.counters();
      return now.connections === 0 && now;
    }, { what: "the last connection to be gone", timeoutMs: CROWD_MS });
    assert.deepEqual([after.pending, after.bufferBytes, after.noMemory], [0, 0, 0]);
    assert.equal(after.resetsIn, HALF);
    assert.equal(await rig.snmp("CurrEstab"), 0);
    const left = await rig.memory() - before;
    assert.ok(left < 15e6, `${left} bytes are left`);
  },
);
