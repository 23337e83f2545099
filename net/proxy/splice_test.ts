import assert from "node:assert/strict";
import { Random } from "../../tests/doubles/random.ts";
import { until } from "../../tests/support/until.ts";
import { AsyncReactor } from "../os/reactor.ts";
import { openStreamsPortable } from "../os/stream_portable.ts";
import { streamByte, StreamPeer } from "../tcp/stream_fixture.ts";
import type { Stack } from "../tcp/stack.ts";
import { forwardLocal } from "./forward.ts";
import { World, type WorldOptions } from "./proxy_fixture.ts";

const LOOPBACK = { kind: "tcp", address: "127.0.0.1", port: 0 } as const;

/** What one connection is to carry. */
interface Plan {
  readonly up: number;
  readonly down: number;
  /** The client aborts after so many bytes; Infinity: it does not. */
  readonly abortAt: number;
}

/** Listens inside and takes each connection by the next plan. */
function serve(stack: Stack, port: number, plans: readonly Plan[]): Map<number, StreamPeer> {
  const peers = new Map<number, StreamPeer>();
  let next = 0;
  stack.listen({
    port,
    onSyn: (pending) => {
      const number = next++;
      const plan = plans[number];
      if (plan === undefined) return;
      const peer = new StreamPeer({ bytes: plan.down, salt: number + 100, expects: number });
      peers.set(number, peer);
      pending.accept(peer);
    },
  });
  return peers;
}

async function upload(conn: Deno.Conn, salt: number, length: number): Promise<void> {
  const chunk = new Uint8Array(20_000);
  for (let at = 0; at < length;) {
    const size = Math.min(chunk.length, length - at);
    for (let i = 0; i < size; i++) chunk[i] = streamByte(at + i, salt);
    at += await conn.write(chunk.subarray(0, size));
  }
}

async function download(conn: Deno.Conn, salt: number): Promise<number> {
  const chunk = new Uint8Array(20_000);
  for (let total = 0;;) {
    const count = await conn.read(chunk);
    if (count === null) return total;
    for (let i = 0; i < count; i++) {
      if (chunk[i] !== streamByte(total + i, salt)) throw new Error(`Byte ${total + i} is wrong`);
    }
    total += count;
  }
}

/** One after the other opens, so that both ends know which plan is theirs; then all go on at once. */
async function runPlans(options: WorldOptions, plans: readonly Plan[]): Promise<void> {
  await using w = new World(options);
  const peers = serve(w.far, 80, plans);
  using forward = forwardLocal(w.loop, w.dialer, { listen: LOOPBACK, host: "far", port: 80 });
  const conns: Deno.TcpConn[] = [];
  for (let i = 0; i < plans.length; i++) {
    conns.push(await Deno.connect({ hostname: "127.0.0.1", port: forward.port }));
    await until(() => peers.get(i)?.opened, { what: `connection ${i} to arrive` });
  }
  await Promise.all(plans.map(async ({ up, down, abortAt }, i) => {
    const conn = conns[i];
    assert.ok(conn);
    if (abortAt < up) {
      await upload(conn, i, abortAt);
      conn.close();
      return;
    }
    const sent = upload(conn, i, up).then(() => conn.closeWrite());
    assert.equal(await download(conn, i + 100), down);
    await sent;
    conn.close();
  }));
  const left = (): number => w.loop.connections + w.far.use.connections + w.near.use.connections;
  await until(() => left() === 0, { what: "everything to be over" });
  for (const [i, peer] of peers) {
    const plan = plans[i];
    assert.ok(plan);
    assert.equal(peer.fault, undefined, `connection ${i}`);
    if (plan.abortAt < plan.up) assert.ok(peer.read <= plan.abortAt);
    else assert.deepEqual([peer.read, peer.reason], [plan.up, "closed"], `connection ${i}`);
  }
  assert.deepEqual([w.near.use.bufferBytes, w.loop.holding], [0, 0], "all memory is given back");
}

function plansOf(seed: number, count: number, most: number): Plan[] {
  const random = new Random(seed);
  return Array.from({ length: count }, () => {
    const up = random.below(4) === 0 ? 0 : random.below(most);
    const down = random.below(4) === 0 ? 0 : random.below(most);
    const aborts = random.below(5) === 0;
    return { up, down, abortAt: aborts ? random.below(up + 1) : Infinity };
  });
}

for (const seed of [1, 2, 3]) {
  Deno.test(`G6: splices carry every byte and every end, seed ${seed}`, async () => {
    await runPlans({}, plansOf(seed, 25, 400_000));
  });
}

Deno.test("G6: splices carry every byte and every end (portable)", async () => {
  const streams = openStreamsPortable();
  await runPlans({ streams, reactor: new AsyncReactor() }, plansOf(4, 25, 400_000));
});

Deno.test("G6: splices carry every byte when the stack's memory is used up", async () => {
  const plans = plansOf(5, 12, 600_000).map((plan) => ({ ...plan, abortAt: Infinity }));
  await runPlans({ limits: { totalBytes: 20 * 16384 } }, plans);
});
