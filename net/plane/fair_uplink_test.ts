/**
 * What each guest gets of a line that one of them fills: two namespaces, a line of 20 Mbit/s, real
 * sockets, one lender's data plane with four guests of two borrowers.
 *
 * @module
 */

import assert from "node:assert/strict";
import { NetLab, netlabMissing } from "../../tests/netlab/netlab.ts";
import { commandMissing, testIf } from "../../tests/support/requires.ts";
import { until } from "../../tests/support/until.ts";
import { Program } from "./_fair_lab_fixture.ts";
import type { Arrived, FairGuest, Sent } from "./_fair_fixture.ts";

const missing = netlabMissing ?? commandMissing("ss", "tc");
const BORROWERS = [["10.7.0.2", 5001], ["10.7.0.2", 5002]] as const;
/** Bytes that arrive before the shares are compared: some seconds of the line. */
const ENOUGH = 8_000_000;

interface Shares {
  readonly sent: Sent;
  readonly arrived: { messages: number[]; bytes: number[]; control: number };
}

/** Lets the guests send over a narrow line until enough has arrived, and the rest arrive. */
async function share(guests: readonly FairGuest[]): Promise<Shares> {
  await using lab = await NetLab.create();
  const lender = await lab.namespace("lender");
  const borrower = await lab.namespace("borrower");
  const { a } = await lab.connect(lender, "10.7.0.1/24", borrower, "10.7.0.2/24");
  await lender.runChecked("tc", [
    ...["qdisc", "add", "dev", a, "root", "tbf"],
    ...["rate", "20mbit", "burst", "64kb", "limit", "100mb"],
  ]);
  await using first = await Program.start<Arrived>(borrower, "borrower", "5001");
  await using second = await Program.start<Arrived>(borrower, "borrower", "5002");
  const count = async (): Promise<Shares["arrived"]> => {
    const [one, two] = [await first.ask(), await second.ask()];
    const sum = (a: readonly number[], b: readonly number[]): number[] =>
      guests.map((_, i) => (a[i] ?? 0) + (b[i] ?? 0));
    return {
      messages: sum(one.messages, two.messages),
      bytes: sum(one.bytes, two.bytes),
      control: one.control + two.control,
    };
  };
  let sent: Sent;
  {
    await using program = await Program.start<Sent>(lender, "lender", JSON.stringify({ guests }));
    await until(async () => (await count()).bytes.reduce((x, y) => x + y, 0) >= ENOUGH, {
      timeoutMs: 60_000,
      what: "the line to have carried enough",
    });
    sent = await program.ask();
  }
  // Nobody sends any more: what the kernel still has of it arrives, and is read.
  await until(async () => {
    const line = (await lender.runChecked("tc", ["-s", "qdisc", "show", "dev", a])).stdout;
    const sockets = (await borrower.runChecked("ss", ["-uanH"])).stdout.trim().split("\n");
    return line.includes(" backlog 0b 0p ") &&
      sockets.every((socket) => socket.trim().split(/\s+/)[1] === "0");
  }, { timeoutMs: 60_000, what: "the line to be empty" });
  return { sent, arrived: await count() };
}

const FLAT_OUT = 0;

function guest(borrower: 0 | 1, length: number, everyMs: number): FairGuest {
  return { borrower: BORROWERS[borrower], length, everyMs };
}

testIf(
  missing,
  "V9: one guest that fills the line takes nothing from those that send little, nor from control",
  async (t) => {
    for (const length of [1400, 96]) {
      await t.step(`with messages of ${length} bytes`, async () => {
        const { sent, arrived } = await share([
          guest(0, length, FLAT_OUT),
          guest(0, 208, 10),
          guest(1, 208, 10),
          guest(1, 208, 10),
        ]);
        const words = JSON.stringify({ sent, arrived });
        // The positive control: the line is full, for the flood stands in its own queue.
        assert.ok((arrived.messages[0] ?? 0) > 2000, words);
        for (const i of [1, 2, 3]) {
          const [out = 0, come = 0] = [sent.frames[i], arrived.messages[i]];
          assert.ok(out > 20, words);
          // What the plane itself still had is gone with it.
          assert.ok(come >= 0.75 * out, `guest ${i}: ${come} of ${out} came: ${words}`);
        }
        assert.ok(arrived.control >= 0.75 * sent.control, words);
      });
    }
  },
);

testIf(missing, "V9: guests that fill the line get the same of it in bytes", async () => {
  const { sent, arrived } = await share([
    guest(0, 1400, FLAT_OUT),
    guest(0, 400, FLAT_OUT),
    guest(1, 1400, FLAT_OUT),
    guest(1, 96, FLAT_OUT),
  ]);
  const words = JSON.stringify({ sent, arrived });
  const wire = arrived.bytes.map((bytes, i) => bytes + 42 * (arrived.messages[i] ?? 0));
  const [a = 0, b = 0, c = 0, d = 0] = wire;
  assert.ok(Math.max(a, b, c) < 2 * Math.min(a, b, c), words);
  // Short frames count as 256 bytes.
  const frames = arrived.messages[3] ?? 0;
  assert.ok(256 * frames > a / 2 && d < 2 * a, words);
});
