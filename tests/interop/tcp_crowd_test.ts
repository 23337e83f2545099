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
      }, { what: "all of it to be acknowledged, and every connection to be there" });
      const held = await rig.memory() - before;
      assert.ok(held < 120e6, `${2 * COUNT} idle connections take ${held} bytes`);

      const halves = { done: HALF, reset: HALF, failed: 0 };
      const parted = [kernel.ask("part"), rig.crowd({ crowd: "part" })];
      assert.deepEqual(await Promise.all(parted), [halves, halves]);
      await until(async () => {
        const { accepted, ended, reset } = await kernel.ask<Served>("served");
        return accepted === COUNT && ended === HALF && reset === HALF;
      }, { what: "the kernel's side to hear of every end and every reset" });
    }

    const after = await until(async () => {
      const now = await rig.counters();
      return now.connections === 0 && now;
    }, { what: "the last connection to be gone", timeoutMs: 30_000 });
    assert.deepEqual([after.pending, after.bufferBytes, after.noMemory], [0, 0, 0]);
    assert.equal(after.resetsIn, HALF);
    // Those that the stack has ended first. When both sides are slow the kernel repeats its FIN, is
    // answered twice, and ends some of them early by its reset (RFC 1337 section 2).
    assert.ok((after.timeWaits ?? Infinity) <= HALF);
    assert.equal(await rig.snmp("CurrEstab"), 0);
    const left = await rig.memory() - before;
    assert.ok(left < 15e6, `${left} bytes are left`);
  },
);
