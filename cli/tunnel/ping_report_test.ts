import assert from "node:assert/strict";
import fc from "fast-check";
import { readPing } from "./ping_report.ts";

// As iputils 20221126 has printed it, with LC_ALL=C.
const PRINTED = `PING 10.0.0.2 (10.0.0.2) from 10.0.0.1 omerta0: 56(84) bytes of data.
64 bytes from 10.0.0.2: icmp_seq=1 ttl=64 time=1.23 ms
64 bytes from 10.0.0.2: icmp_seq=2 ttl=64 time=0.812 ms
64 bytes from 10.0.0.2: icmp_seq=2 ttl=64 time=9.99 ms (DUP!)
From 10.0.0.1 icmp_seq=3 Destination Host Unreachable
64 bytes from 10.0.0.2: icmp_seq=4 ttl=64 time=12 ms

--- 10.0.0.2 ping statistics ---
4 packets transmitted, 3 received, 25% packet loss, time 603ms
rtt min/avg/max/mdev = 0.812/4.680/12.000/5.178 ms
`;

Deno.test("W5: readPing() counts each answer once and finds least, median and most", () => {
  assert.deepEqual(readPing(PRINTED, 4), {
    ...{ sent: 4, received: 3, loss: 0.25 },
    ...{ minMs: 0.812, medianMs: 1.23, maxMs: 12 },
  });
});

Deno.test("W5: readPing() takes the middle of two", () => {
  const lines = [4, 1, 3, 2].map((ms, i) => `64 bytes: icmp_seq=${i + 1} ttl=64 time=${ms} ms`);
  assert.equal(readPing(lines.join("\n"), 4).medianMs, 2.5);
});

Deno.test("W5: readPing() has no times when nothing has answered, whatever was printed", () => {
  assert.deepEqual(readPing("", 2), {
    ...{ sent: 2, received: 0, loss: 1 },
    ...{ minMs: undefined, medianMs: undefined, maxMs: undefined },
  });
  fc.assert(fc.property(fc.string(), (text) => {
    const { received, loss } = readPing(text, 3);
    assert.ok(received === 0 && loss === 1);
  }));
});
