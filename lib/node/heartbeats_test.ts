import assert from "node:assert/strict";
import type { NodeEvent } from "../core/log.ts";
import { Heartbeats } from "./heartbeats.ts";
import type { BorrowedVm } from "./lease_store.ts";

function vm(id: string, machine: string): BorrowedVm {
  return {
    id,
    name: id,
    host: `host of ${machine}`,
    endpoint: { address: "192.0.2.1", port: 51820 },
    machine,
    network: "",
    address: "10.0.0.2",
    wireguardKey: `key of ${id}`,
    hostKey: "",
    since: 0,
    mode: "filtered",
    dryRun: false,
  };
}

/** Heartbeats to lenders that answer as the test wants. */
class Bench implements Disposable {
  readonly vms: BorrowedVm[] = [vm("a1", "A"), vm("a2", "A"), vm("b1", "B")];
  readonly told: string[] = [];
  readonly lost: string[] = [];
  readonly events: NodeEvent[] = [];
  readonly counters = new Map<string, { rx: number; tx: number }>();
  answer: (ids: readonly string[]) => Promise<string[]> = (ids) => Promise.resolve([...ids]);
  readonly heartbeats = new Heartbeats({
    vms: () => this.vms,
    stats: () =>
      Promise.resolve({
        peers: [...this.counters].map(([publicKey, { rx, tx }]) => ({
          publicKey,
          rxBytes: rx,
          txBytes: tx,
          endpoint: undefined,
          allowedIps: [],
          keepaliveSeconds: 0,
          lastHandshakeMs: undefined,
        })),
      }),
    lenderOf: ({ machine }) => ({
      heartbeat: (ids): Promise<string[]> => {
        this.told.push(`${machine}: ${ids.join(" ")}`);
        return this.answer(ids);
      },
    }),
    onLost: (id) => {
      this.lost.push(id);
      return Promise.resolve();
    },
    events: { add: (event) => void this.events.push(event) },
  });

  [Symbol.dispose](): void {
    this.heartbeats[Symbol.dispose]();
  }
}

Deno.test("Heartbeats.beat() tells every lender its VMs and learns which are gone", async () => {
  using bench = new Bench();
  bench.answer = (ids): Promise<string[]> => Promise.resolve(ids.filter((id) => id !== "a2"));
  await bench.heartbeats.beat();
  assert.deepEqual(bench.told, ["A: a1 a2", "B: b1"]);
  assert.deepEqual(bench.lost, ["a2"]);
  assert.deepEqual(bench.events, []);
});

Deno.test("N17: Heartbeats.beat() says once that a lender is silent, and once that it is back", async () => {
  using bench = new Bench();
  const [a1, , b1] = bench.vms;
  assert.ok(a1 && b1);
  const fails = (ids: readonly string[]): Promise<string[]> =>
    ids.includes("a1") ? Promise.reject(new Error("No answer")) : Promise.resolve([...ids]);
  bench.answer = fails;
  for (let i = 0; i < 3; i++) await bench.heartbeats.beat();
  assert.deepEqual([a1, b1].map((one) => bench.heartbeats.isSilent(one)), [true, false]);
  bench.answer = (ids): Promise<string[]> => Promise.resolve([...ids]);
  for (let i = 0; i < 3; i++) await bench.heartbeats.beat();
  assert.equal(bench.heartbeats.isSilent(a1), false);
  assert.deepEqual(bench.events, [
    { event: "lender-silent", host: "host of A", reason: "No answer" },
    { event: "lender-back", host: "host of A" },
  ]);
  assert.deepEqual(bench.lost, [], "silence is no end");
  // One that is not borrowed from any more is forgotten.
  bench.answer = fails;
  await bench.heartbeats.beat();
  bench.vms.splice(0, 2);
  await bench.heartbeats.beat();
  assert.equal(bench.heartbeats.isSilent(a1), false);
});

Deno.test("N17: Heartbeats.look() tells only the lenders of tunnels that hear nothing", async () => {
  using bench = new Bench();
  const set = (id: string, rx: number, tx: number): void => {
    bench.counters.set(`key of ${id}`, { rx, tx });
  };
  set("a1", 1000, 1000);
  set("b1", 1000, 1000);
  bench.counters.set("key of another", { rx: 0, tx: 0 });
  await bench.heartbeats.look();
  set("a1", 2000, 2000);
  set("b1", 1000, 2000);
  bench.counters.set("key of another", { rx: 0, tx: 5000 });
  await bench.heartbeats.look();
  assert.deepEqual(bench.told, ["B: b1"]);
  // One that does not answer is asked until it does.
  bench.answer = (): Promise<string[]> => Promise.reject(new Error("No answer"));
  await bench.heartbeats.beat((machine) => machine === "A");
  bench.told.length = 0;
  await bench.heartbeats.look();
  bench.answer = (ids): Promise<string[]> => Promise.resolve([...ids]);
  await bench.heartbeats.look();
  await bench.heartbeats.look();
  assert.deepEqual(bench.told, ["A: a1 a2", "A: a1 a2"]);
});

Deno.test("Heartbeats.beat() does not ask a lender again that has not answered yet", async () => {
  using bench = new Bench();
  const answer = Promise.withResolvers<string[]>();
  bench.answer = (): Promise<string[]> => answer.promise;
  const first = bench.heartbeats.beat();
  await bench.heartbeats.beat();
  assert.equal(bench.told.length, 2);
  answer.resolve(["a1", "a2", "b1"]);
  await first;
  await bench.heartbeats.beat();
  assert.equal(bench.told.length, 4);
});
