import assert from "node:assert/strict";
import { captured } from "../../tests/doubles/captured_frames.ts";
import { guestFrame, wireguardMessage } from "../../tests/doubles/guest_frames.ts";
import { LOG_INTERVAL_MS, RefusalLog, RefusalRing, RING_FRAMES, SNAP_LEN } from "./refusals.ts";
import { VERDICT } from "./verdict.ts";

Deno.test("RefusalRing keeps what was refused, when, why, and as one line", () => {
  const ring = new RefusalRing();
  const dns = captured("dns");
  const buffer = new Uint8Array(60).fill(0xa5);
  buffer.set(dns, 5);
  ring.add(1000, VERDICT.port, buffer, 5, dns.length);
  assert.deepEqual(ring.list(), [{
    time: 1000,
    verdict: VERDICT.port,
    reason: "port",
    length: 47,
    bytes: dns,
    text: "UDP 192.168.100.2:40000 > 192.168.100.1:53 len 5",
  }]);
});

Deno.test("RefusalRing keeps the beginning of a long frame, and its line has the true length", () => {
  const ring = new RefusalRing();
  const frame = guestFrame({ destination: 0x08080808, payload: wireguardMessage(1472) });
  ring.add(0, VERDICT.destination, frame, 0, frame.length);
  const [kept] = ring.list();
  assert.equal(kept?.length, 1514);
  assert.deepEqual(kept?.bytes, frame.slice(0, SNAP_LEN));
  assert.equal(kept?.text, "UDP 192.168.100.2:40000 > 8.8.8.8:51820 len 1472");
});

Deno.test("RefusalRing overwrites the oldest frame at its cap and goes on counting", () => {
  const ring = new RefusalRing();
  const frame = captured("ping");
  for (let i = 0; i < RING_FRAMES + 10; i++) ring.add(i, VERDICT.protocol, frame, 0, 98);
  const times = ring.list().map((one) => one.time);
  assert.deepEqual(times, Array.from({ length: RING_FRAMES }, (_, i) => i + 10));
  assert.equal(ring.total, RING_FRAMES + 10);
});

Deno.test("RefusalRing does not show bytes of an older, longer frame", () => {
  const ring = new RefusalRing();
  for (let i = 0; i < RING_FRAMES; i++) ring.add(i, VERDICT.port, captured("ping"), 0, 98);
  ring.add(99, VERDICT.truncated, captured("ping"), 0, 3);
  assert.equal(ring.list().at(-1)?.bytes.length, 3);
  assert.equal(ring.list().at(-1)?.text, "Ethernet truncated (3 bytes)");
});

Deno.test("RefusalRing takes any length", () => {
  const ring = new RefusalRing();
  for (const length of [0, 1, 65549, 1e6]) ring.add(0, VERDICT.tooLong, captured("dns"), 0, length);
  assert.equal(ring.list().length, 4);
  assert.equal(ring.list().at(-1)?.length, 1e6);
});

Deno.test("RefusalLog.admit() lets one line for each reason through in an interval", () => {
  const log = new RefusalLog();
  assert.equal(log.admit(0, VERDICT.port), 0);
  assert.equal(log.admit(1, VERDICT.port), -1);
  assert.equal(log.admit(1, VERDICT.destination), 0);
  assert.equal(log.admit(LOG_INTERVAL_MS - 1, VERDICT.port), -1);
  assert.equal(log.admit(LOG_INTERVAL_MS, VERDICT.port), 2);
  assert.equal(log.admit(LOG_INTERVAL_MS + 1, VERDICT.port), -1);
  assert.equal(log.admit(3 * LOG_INTERVAL_MS, VERDICT.port), 1);
  assert.equal(log.admit(5 * LOG_INTERVAL_MS, VERDICT.port), 0);
});
