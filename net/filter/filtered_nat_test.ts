import assert from "node:assert/strict";
import { captured } from "../../tests/doubles/captured_frames.ts";
import { BORROWER, endpoint, FilterBench, STRANGER } from "../../tests/doubles/filter_bench.ts";
import { guestArp, guestFrame, wireguardMessage } from "../../tests/doubles/guest_frames.ts";
import { parseEthernet } from "../wire/ethernet.ts";
import { formatFrame } from "../wire/format.ts";
import { udpChecksumValid } from "../wire/udp.ts";
import { BYTES_TO_GUEST, BYTES_TO_UPLINK, MAX_PAYLOAD } from "./filtered_nat.ts";
import { GATEWAY_ADDRESS, GATEWAY_MAC, GUEST_ADDRESS, GUEST_MAC } from "./guest_link.ts";
import { countsByReason, VERDICT } from "./verdict.ts";

Deno.test("N3: a packet to the allowed endpoint passes, payload untouched, to the uplink", () => {
  const bench = new FilterBench();
  const payload = wireguardMessage(148, 1);
  assert.equal(bench.fromGuest(guestFrame({ payload })), "forwarded");
  assert.deepEqual(bench.toUplink.take(), [{ payload, to: BORROWER }]);
  assert.deepEqual(bench.toGuest.take(), []);
});

Deno.test("N3: a packet that a real kernel sent passes", () => {
  const bench = new FilterBench();
  assert.equal(bench.fromGuest(captured("wireguard")), "forwarded");
  assert.equal(bench.toUplink.take()[0]?.payload.length, 32);
});

Deno.test("N3: a packet to another endpoint is dropped and reported", () => {
  const bench = new FilterBench();
  assert.equal(bench.fromGuest(guestFrame({ destination: 0x08080808 })), "destination");
  assert.deepEqual(bench.toUplink.take(), []);
  assert.deepEqual(bench.refused, [
    "destination: UDP 192.168.100.2:40000 > 8.8.8.8:51820 len 96",
  ]);
});

Deno.test("N3: an empty allowlist blocks everything, both ways", () => {
  const bench = new FilterBench();
  assert.equal(bench.fromGuest(guestFrame()), "forwarded");
  bench.nat.allowlist.replace([]);
  assert.equal(bench.fromGuest(guestFrame()), "destination");
  assert.equal(bench.fromUplink(wireguardMessage()), "no-flow");
  assert.equal(bench.toUplink.take().length, 1);
  assert.deepEqual(bench.toGuest.take(), []);
});

Deno.test("N3: each of several allowed endpoints passes and others do not", () => {
  const bench = new FilterBench();
  const second = { address: 0x0a000001, port: 9000 };
  bench.nat.allowlist.replace([{ address: GATEWAY_ADDRESS, port: 51820 }, second]);
  const frame = (o: { address: number; port: number }) =>
    guestFrame({ destination: o.address, destinationPort: o.port });
  assert.equal(bench.fromGuest(guestFrame()), "forwarded");
  assert.equal(bench.fromGuest(frame(second)), "forwarded");
  assert.equal(bench.fromGuest(frame({ ...second, port: 51820 })), "port");
  assert.equal(bench.fromGuest(frame({ address: 0x0a000002, port: 9000 })), "destination");
  assert.equal(bench.toUplink.take().length, 2);
});

Deno.test("N3: the right address with a wrong port is dropped", () => {
  const bench = new FilterBench();
  assert.equal(bench.fromGuest(guestFrame({ destinationPort: 51821 })), "port");
  assert.equal(bench.fromGuest(captured("dns")), "port");
  assert.deepEqual(bench.toUplink.take(), []);
});

Deno.test("N3: a wrong address with the right port is dropped", () => {
  const bench = new FilterBench();
  for (const destination of [GATEWAY_ADDRESS + 1, 0, 0xffffffff, 0xc0a86403, 0x7f000001]) {
    assert.equal(bench.fromGuest(guestFrame({ destination })), "destination");
  }
  assert.deepEqual(bench.toUplink.take(), []);
});

Deno.test("N3: a reply of the allowed endpoint reaches the guest", () => {
  const bench = new FilterBench();
  bench.fromGuest(guestFrame({ sourcePort: 45678 }));
  const payload = wireguardMessage(92, 2);
  assert.equal(bench.fromUplink(payload), "forwarded");
  const [frame] = bench.toGuest.take();
  assert.ok(frame);
  assert.equal(
    formatFrame(frame, 0, frame.length),
    "UDP 192.168.100.1:51820 > 192.168.100.2:45678 len 92",
  );
  assert.deepEqual(frame.slice(42), payload);
  const head = parseEthernet(frame);
  assert.ok(typeof head !== "string");
  assert.deepEqual([head.destination, head.source], [GUEST_MAC, GATEWAY_MAC]);
  assert.ok(udpChecksumValid(frame, 34, 100, GATEWAY_ADDRESS, GUEST_ADDRESS));
});

Deno.test("N3: a datagram of anybody else is dropped", () => {
  const bench = new FilterBench();
  bench.fromGuest(guestFrame());
  assert.equal(bench.fromUplink(wireguardMessage(), STRANGER), "sender");
  assert.equal(bench.fromUplink(wireguardMessage(), endpoint("203.0.113.7", 51998)), "sender");
  assert.equal(bench.fromUplink(wireguardMessage(), endpoint("::1", 51999)), "sender");
  assert.deepEqual(bench.toGuest.take(), []);
});

Deno.test("N3: a changed allowlist holds from the next packet on, for replies too", () => {
  const bench = new FilterBench();
  const other = guestFrame({ destination: 0x0a000001, destinationPort: 9000 });
  assert.equal(bench.fromGuest(other), "destination");
  assert.equal(bench.fromGuest(guestFrame()), "forwarded");
  bench.nat.allowlist.replace([{ address: 0x0a000001, port: 9000 }]);
  assert.equal(bench.fromGuest(guestFrame()), "destination");
  assert.equal(bench.fromUplink(wireguardMessage()), "no-flow");
  assert.equal(bench.fromGuest(other), "forwarded");
  assert.equal(bench.fromUplink(wireguardMessage()), "forwarded");
  const [frame] = bench.toGuest.take();
  assert.ok(frame);
  assert.equal(
    formatFrame(frame, 0, frame.length),
    "UDP 10.0.0.1:9000 > 192.168.100.2:40000 len 96",
  );
});

Deno.test("N3: a reply comes from the endpoint to which the guest spoke last", () => {
  const bench = new FilterBench();
  const ways = [
    { destination: GATEWAY_ADDRESS, destinationPort: 51820, sourcePort: 1111 },
    { destination: GATEWAY_ADDRESS, destinationPort: 9000, sourcePort: 1111 },
    { destination: 0x0a000001, destinationPort: 9000, sourcePort: 1111 },
    { destination: 0x0a000001, destinationPort: 9000, sourcePort: 2222 },
  ];
  bench.nat.allowlist.replace(
    ways.map((way) => ({ address: way.destination, port: way.destinationPort })),
  );
  const replies = ways.map((way) => {
    assert.equal(bench.fromGuest(guestFrame(way)), "forwarded");
    assert.equal(bench.fromUplink(wireguardMessage()), "forwarded");
    const [frame] = bench.toGuest.take();
    return frame ? formatFrame(frame, 0, frame.length) : "";
  });
  assert.deepEqual(replies, [
    "UDP 192.168.100.1:51820 > 192.168.100.2:1111 len 96",
    "UDP 192.168.100.1:9000 > 192.168.100.2:1111 len 96",
    "UDP 10.0.0.1:9000 > 192.168.100.2:1111 len 96",
    "UDP 10.0.0.1:9000 > 192.168.100.2:2222 len 96",
  ]);
});

Deno.test("N3: setUplink() moves the tunnel at once, and the old place is a stranger", () => {
  const bench = new FilterBench();
  bench.fromGuest(guestFrame());
  bench.nat.setUplink(STRANGER);
  assert.equal(bench.nat.uplink, STRANGER);
  bench.fromGuest(guestFrame());
  assert.deepEqual(bench.toUplink.take().map(({ to }) => to), [BORROWER, STRANGER]);
  assert.equal(bench.fromUplink(wireguardMessage(), BORROWER), "sender");
  assert.equal(bench.fromUplink(wireguardMessage(), STRANGER), "forwarded");
});

Deno.test("N6: the frame for the guest is the one that is written down here", () => {
  const bench = new FilterBench();
  bench.fromGuest(guestFrame({ sourcePort: 0x9c40 }));
  bench.fromUplink(wireguardMessage(32));
  assert.equal(
    bench.toGuest.take()[0]?.toHex(),
    "525400006402" + "020000006401" + "0800" + // to the guest, from the gateway, IPv4
      "4500003c" + "00004000" + "4011" + "f15c" + // 60 bytes, DF, TTL 64, UDP, checksum
      "c0a86401" + "c0a86402" + // 192.168.100.1 > 192.168.100.2
      "ca6c9c40" + "0028" + "5c9f" + // 51820 > 40000, 40 bytes, checksum
      "040000000405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f",
  );
});

Deno.test.each([
  { length: 148, type: 1 },
  { length: 92, type: 2 },
  { length: 64, type: 3 },
  { length: 32, type: 4 },
  { length: 1452, type: 4 },
  { length: MAX_PAYLOAD, type: 4 },
])("N6: a WireGuard message of type $type and $length bytes passes both ways", (o) => {
  const bench = new FilterBench();
  const payload = wireguardMessage(o.length, o.type);
  assert.equal(bench.fromGuest(guestFrame({ payload })), "forwarded");
  assert.equal(bench.fromUplink(payload), "forwarded");
  assert.deepEqual(bench.toUplink.take()[0]?.payload, payload);
  assert.deepEqual(bench.toGuest.take()[0]?.slice(42), payload);
  assert.deepEqual([...bench.nat.counters.bytes], [o.length, o.length]);
});

Deno.test.each([
  { what: "text", payload: new TextEncoder().encode("hello ".repeat(20)), want: "not-wireguard" },
  { what: "nothing", payload: new Uint8Array(0), want: "not-wireguard" },
  { what: "more than a frame holds", payload: wireguardMessage(1488), want: "too-long" },
])("N6: from the uplink, $what is refused: $want", ({ payload, want }) => {
  const bench = new FilterBench();
  bench.fromGuest(guestFrame());
  assert.equal(bench.fromUplink(payload), want);
  assert.deepEqual(bench.toGuest.take(), []);
  assert.deepEqual(countsByReason(bench.nat.counters.fromUplink), { [want]: 1 });
  assert.equal(bench.fromUplink(wireguardMessage()), "forwarded");
});

Deno.test("N6: a UDP checksum of 0 is sent to the guest as 0xffff", () => {
  const bench = new FilterBench();
  bench.fromGuest(guestFrame());
  const payload = wireguardMessage(32);
  // The frame written down above has checksum 0x5c9f: as much more in its last word leaves 0.
  payload.set([0x7a, 0xbe], 30);
  bench.fromUplink(payload);
  const [frame] = bench.toGuest.take();
  assert.equal(frame?.subarray(40, 42).toHex(), "ffff");
});

Deno.test("N6: before the guest has spoken there is nobody to reply to", () => {
  const bench = new FilterBench();
  assert.equal(bench.fromUplink(wireguardMessage()), "no-flow");
  assert.equal(bench.fromGuest(guestFrame({ payload: bytes(50) })), "not-wireguard");
  assert.equal(bench.fromUplink(wireguardMessage()), "no-flow");
  assert.equal(bench.fromGuest(guestFrame()), "forwarded");
  assert.equal(bench.fromUplink(wireguardMessage()), "forwarded");
});

Deno.test("N6: replies go to the port of the guest's last good message", () => {
  const bench = new FilterBench();
  const replyPort = () => {
    bench.fromUplink(wireguardMessage());
    const [frame] = bench.toGuest.take();
    return ((frame?.[36] ?? 0) << 8) | (frame?.[37] ?? 0);
  };
  bench.fromGuest(guestFrame({ sourcePort: 1111 }));
  assert.equal(replyPort(), 1111);
  bench.fromGuest(guestFrame({ sourcePort: 2222, payload: bytes(50) }));
  assert.equal(replyPort(), 1111);
  bench.fromGuest(guestFrame({ sourcePort: 3333 }));
  assert.equal(replyPort(), 3333);
});

Deno.test("N6: without an uplink nothing passes, and once it is set a known guest is reached", () => {
  const bench = new FilterBench(undefined);
  bench.nat.setUplink(undefined);
  assert.equal(bench.fromGuest(guestFrame({ sourcePort: 5555 })), "no-uplink");
  assert.equal(bench.fromUplink(wireguardMessage()), "no-uplink");
  bench.nat.setUplink(BORROWER);
  assert.equal(bench.fromUplink(wireguardMessage(148, 1)), "forwarded");
  assert.deepEqual(bench.toUplink.take(), []);
});

Deno.test("N6: a full sink drops the packet and counts it", () => {
  const bench = new FilterBench(BORROWER, 1);
  assert.equal(bench.fromGuest(guestFrame()), "forwarded");
  assert.equal(bench.fromGuest(guestFrame()), "no-room");
  assert.equal(bench.fromUplink(wireguardMessage()), "forwarded");
  assert.equal(bench.fromUplink(wireguardMessage()), "no-room");
  assert.equal(bench.fromGuest(guestArp()), "no-room");
  bench.toUplink.take();
  bench.toGuest.take();
  assert.equal(bench.fromGuest(guestFrame()), "forwarded");
  assert.equal(bench.fromGuest(guestArp()), "answered");
});

Deno.test("N6: a range that is not in the buffer is refused, not read", () => {
  const { nat } = new FilterBench();
  const frame = guestFrame();
  assert.equal(nat.fromGuest(frame, 1, frame.length), VERDICT.truncated);
  assert.equal(nat.fromGuest(frame, 0, 1e9), VERDICT.truncated);
  assert.equal(nat.fromGuest(frame, 0, -1), VERDICT.truncated);
  assert.equal(nat.fromUplink(frame, 1, frame.length, BORROWER.sockaddr, 0), VERDICT.truncated);
  assert.equal(nat.fromUplink(frame, 0, -1, BORROWER.sockaddr, 0), VERDICT.truncated);
});

Deno.test("N6: flush() flushes both ways", () => {
  const bench = new FilterBench();
  bench.nat.flush();
  assert.deepEqual([bench.toUplink.flushes, bench.toGuest.flushes], [1, 1]);
});

Deno.test("N6: counters have each verdict and the bytes of each way", () => {
  const bench = new FilterBench();
  bench.fromGuest(guestArp());
  for (let i = 0; i < 3; i++) bench.fromGuest(guestFrame({ payload: wireguardMessage(64) }));
  bench.fromGuest(captured("ping"));
  bench.fromUplink(wireguardMessage(128));
  bench.fromUplink(wireguardMessage(128), STRANGER);
  const { fromGuest, fromUplink, bytes } = bench.nat.counters;
  assert.deepEqual(countsByReason(fromGuest), { forwarded: 3, answered: 1, protocol: 1 });
  assert.deepEqual(countsByReason(fromUplink), { forwarded: 1, sender: 1 });
  assert.deepEqual([bytes[BYTES_TO_UPLINK], bytes[BYTES_TO_GUEST]], [192, 128]);
});

function bytes(length: number): Uint8Array {
  return new Uint8Array(length).fill(0x5a);
}
