import assert from "node:assert/strict";
import fc from "fast-check";
import { Backlog, type Waiter } from "./backlog.ts";

function waiter(remote: number): Waiter {
  return { remote };
}

Deno.test("Backlog.add() gives up the oldest of all at its limit", () => {
  const backlog = new Backlog<Waiter>(4);
  const all = [1, 2, 3, 4, 5, 6].map(waiter);
  const evicted = all.map((one) => backlog.add(one));
  assert.deepEqual(evicted, [undefined, undefined, undefined, undefined, all[0], all[1]]);
  assert.equal(backlog.size, 4);
});

Deno.test("Backlog.add() gives up the oldest of a source that has half of the places", () => {
  const backlog = new Backlog<Waiter>(4);
  const other = waiter(9);
  assert.equal(backlog.add(other), undefined);
  const flood = Array.from({ length: 6 }, () => waiter(1));
  const evicted = flood.map((one) => backlog.add(one));
  assert.deepEqual(evicted, [undefined, undefined, ...flood.slice(0, 4)]);
  // There is still room for others.
  assert.equal(backlog.add(waiter(8)), undefined);
  assert.equal(backlog.add(waiter(7)), other);
});

Deno.test("Backlog is the same as a list with the same rules", () => {
  const step = fc.record({ add: fc.boolean(), remote: fc.nat(3), which: fc.nat(20) });
  fc.assert(fc.property(fc.integer({ min: 1, max: 9 }), fc.array(step), (limit, steps) => {
    const backlog = new Backlog<Waiter>(limit);
    let list: Waiter[] = [];
    for (const { add, remote, which } of steps) {
      const one = add ? waiter(remote) : list[which] ?? waiter(remote);
      if (!add) {
        backlog.delete(one);
        list = list.filter((other) => other !== one);
      } else {
        const own = list.filter((other) => other.remote === remote);
        const full = list.length >= limit ? list[0] : undefined;
        const gone = own.length >= Math.ceil(limit / 2) ? own[0] : full;
        assert.equal(backlog.add(one), gone);
        list = [...list.filter((other) => other !== gone), one];
      }
      assert.equal(backlog.size, list.length);
      assert.ok(list.length <= limit);
    }
  }));
});
