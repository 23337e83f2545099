import assert from "node:assert/strict";
import { Stack } from "../tcp/stack.ts";
import { DIAL_MS, StackDialer } from "./dialer.ts";
import { FAR, NEAR, resolve } from "./proxy_fixture.ts";

/** Takes packets and counts them. */
class Counting {
  readonly buffer = new Uint8Array(2048);
  packets = 0;
  reserve(): number {
    return 0;
  }
  commit(): void {
    this.packets++;
  }
  flush(): void {}
}

Deno.test("StackDialer counts time from the loop's now, however long the stack was silent", () => {
  const out = new Counting();
  const random = (length: number): Uint8Array => new Uint8Array(length);
  const stack = new Stack({ address: NEAR, mtu: 1400, out, random, now: 0 });
  const loop = { now: 900_000 };
  const dialer = new StackDialer(loop, stack, resolve);
  const reasons: string[] = [];
  const dial = (): unknown =>
    dialer.dial("far", 80, { onClose: (_connection, reason) => void reasons.push(reason) });
  assert.equal(typeof dial(), "object");
  stack.flush(loop.now);
  assert.equal(out.packets, 1);
  // RFC 6298 section 2: the SYN is repeated a second after it was sent, and not before.
  assert.equal(stack.tick(loop.now), loop.now + 1000);
  assert.equal(stack.tick(loop.now + 999), loop.now + 1000);
  assert.equal(out.packets, 1);
  for (let at = loop.now + 1000; at <= loop.now + DIAL_MS; at += 500) stack.tick(at);
  stack.flush(loop.now + DIAL_MS);
  assert.deepEqual(reasons, ["timeout"]);
  assert.equal(dialer.dial("unknown.example", 80, {}), "unknown-host");
});

Deno.test("G5: StackDialer sends nothing to where no way leads, nor to port 0", () => {
  const out = new Counting();
  const random = (length: number): Uint8Array => new Uint8Array(length);
  const stack = new Stack({ address: NEAR, mtu: 1400, out, random, now: 0 });
  const isThere = new Set<number>();
  const dialer = new StackDialer({ now: 0 }, stack, resolve, (address) => isThere.has(address));
  assert.equal(dialer.dial("far", 80, {}), "unreachable");
  assert.equal(dialer.dial("unknown.example", 80, {}), "unknown-host");
  // Asked each time: a host may come later.
  isThere.add(FAR);
  assert.equal(dialer.dial("far", 0, {}), "unreachable");
  stack.flush(0);
  assert.deepEqual([stack.use.connections, out.packets], [0, 0]);
  assert.equal(typeof dialer.dial("far", 80, {}), "object");
  stack.flush(0);
  assert.deepEqual([stack.use.connections, out.packets], [1, 1]);
});
