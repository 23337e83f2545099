import assert from "node:assert/strict";
import { endpoint } from "../../tests/doubles/wireguard_pair.ts";
import { Endpoint } from "../os/endpoint.ts";
import { LoadMeter } from "./load.ts";
import { MAX_SOURCES, RateLimiter } from "./rate_limiter.ts";

const A = endpoint("192.0.2.1:1000").sockaddr;
const B = endpoint("192.0.2.2:1000").sockaddr;

Deno.test("W1: RateLimiter allows a burst of 5, then 20 a second, for each address", () => {
  const limiter = new RateLimiter();
  const allowed = (names: Uint8Array, now: number, times: number): number =>
    Array.from({ length: times }, () => limiter.allow(names, 0, now)).filter(Boolean).length;
  assert.equal(allowed(A, 0, 10), 5);
  assert.equal(allowed(B, 0, 10), 5);
  assert.equal(allowed(A, 49, 10), 0);
  assert.equal(allowed(A, 50, 10), 1);
  assert.equal(allowed(A, 150, 10), 2);
  assert.equal(allowed(A, 10_000, 10), 5);
  // Another port is the same source.
  assert.equal(allowed(endpoint("192.0.2.1:1001").sockaddr, 10_000, 10), 0);
});

Deno.test("RateLimiter takes an IPv6 network of 64 bits as one source", () => {
  const limiter = new RateLimiter();
  const of = (address: string): Uint8Array => Endpoint.of(address, 1)?.sockaddr ?? A;
  for (let i = 0; i < 5; i++) assert.ok(limiter.allow(of(`2001:db8::${i}`), 0, 0));
  assert.ok(!limiter.allow(of("2001:db8::ffff"), 0, 0));
  assert.ok(limiter.allow(of("2001:db8:0:1::1"), 0, 0));
});

Deno.test("RateLimiter refuses unknown sources while its table is full of busy ones", () => {
  const limiter = new RateLimiter();
  const of = (i: number): Uint8Array => endpoint(`10.1.${i >> 8}.${i & 255}:1`).sockaddr;
  for (let i = 0; i < MAX_SOURCES; i++) assert.ok(limiter.allow(of(i), 0, 5000));
  assert.ok(!limiter.allow(A, 0, 5000));
  assert.ok(limiter.allow(of(7), 0, 5000));
  assert.ok(limiter.allow(A, 0, 7000));
});

Deno.test("LoadMeter is under load from the message too many until a second later", () => {
  const meter = new LoadMeter(3);
  assert.deepEqual([0, 1, 2, 3, 4].map((now) => meter.isUnderLoad(now)), [
    false,
    false,
    false,
    true,
    true,
  ]);
  assert.ok(meter.isUnderLoad(1999));
  assert.ok(!meter.isUnderLoad(2000));
});
