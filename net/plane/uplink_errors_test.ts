/**
 * What the kernel refuses to send for one guest, and what that means for the others: two namespaces,
 * real routes, a real firewall, one lender's data plane with four guests.
 *
 * @module
 */

import assert from "node:assert/strict";
import { NetLab, netlabMissing } from "../../tests/netlab/netlab.ts";
import { commandMissing, testIf } from "../../tests/support/requires.ts";
import { until } from "../../tests/support/until.ts";
import { Program } from "./_fair_lab_fixture.ts";
import type { Arrived, FairGuest, Sent } from "./_fair_fixture.ts";

const BORROWER = "10.7.0.2";
const GOOD = 5001;
/** A port that the lender's firewall lets nothing go to: EPERM. */
const FORBIDDEN = 5999;
/** An address that the lender has no route to: ENETUNREACH. */
const NOWHERE = "10.99.0.1";
/** MTU of the line; the longest messages do not fit: EMSGSIZE for those that are put together. */
const MTU = 1280;

testIf(
  netlabMissing ?? commandMissing("nft"),
  "N16: what the kernel refuses to send for one guest costs the others nothing",
  async (t) => {
    await using lab = await NetLab.create();
    const lender = await lab.namespace("lender");
    const borrower = await lab.namespace("borrower");
    const { a } = await lab.connect(lender, "10.7.0.1/24", borrower, `${BORROWER}/24`, {
      mtu: MTU,
    });
    const rules = `table inet lender { chain out { type filter hook output priority 0 ; ` +
      `udp dport ${FORBIDDEN} drop ; } ; }`;
    await lender.runChecked("nft", [rules]);
    const guests: FairGuest[] = [
      { borrower: [BORROWER, GOOD], length: 208, everyMs: 5 },
      { borrower: [NOWHERE, GOOD], length: 208, everyMs: 5 },
      { borrower: [BORROWER, FORBIDDEN], length: 208, everyMs: 5 },
      { borrower: [BORROWER, GOOD], length: 1400, everyMs: 0 },
    ];
    await using good = await Program.start<Arrived>(borrower, "borrower", `${GOOD}`);
    await using forbidden = await Program.start<Arrived>(borrower, "borrower", `${FORBIDDEN}`);
    await using program = await Program.start<Sent>(lender, "lender", JSON.stringify({ guests }));
    const look = async (): Promise<{ sent: Sent; arrived: Arrived }> => {
      const sent = await program.ask();
      return { sent, arrived: await good.ask() };
    };

    await t.step("N16: ENETUNREACH, EPERM and EMSGSIZE are counted, the rest arrives", async () => {
      const { sent, arrived } = await until(async () => {
        const seen = await look();
        return (seen.sent.frames[2] ?? 0) >= 100 && (seen.arrived.messages[3] ?? 0) > 200 && seen;
      }, { timeoutMs: 30_000, what: "a hundred frames of each" });
      const words = JSON.stringify({ sent, arrived });
      assert.ok((arrived.messages[0] ?? 0) >= 0.8 * (sent.frames[0] ?? 0), words);
      assert.ok(arrived.control >= 0.8 * sent.control, words);
      // Both that go nowhere are refused, each message by itself.
      assert.ok(sent.refused >= 150, words);
      assert.deepEqual([arrived.messages[1], arrived.messages[2]], [0, 0]);
      assert.equal((await forbidden.ask()).messages[2], 0);
    });

    await t.step("N17: a line that goes down and comes up again carries as before", async () => {
      await lender.setLink(a, "down");
      const { sent: down } = await look();
      await until(async () => ((await program.ask()).frames[0] ?? 0) > (down.frames[0] ?? 0) + 20, {
        what: "the guests to go on",
      });
      const { arrived: before } = await look();
      await lender.setLink(a, "up");
      await until(async () => {
        const { messages } = (await look()).arrived;
        return [0, 3].every((i) => (messages[i] ?? 0) > (before.messages[i] ?? 0) + 20);
      }, { timeoutMs: 30_000, what: "both guests' messages to come again" });
    });

    await t.step("the control: without the rule the forbidden ones arrive", async () => {
      await lender.runChecked("nft", ["flush ruleset"]);
      await until(async () => ((await forbidden.ask()).messages[2] ?? 0) > 20, {
        what: "them",
      });
    });
  },
);
