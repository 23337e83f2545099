import assert from "node:assert/strict";
import { parseArp } from "../../net/wire/arp.ts";
import { onesSum } from "../../net/wire/checksum.ts";
import { ETHERTYPE } from "../../net/wire/ethernet.ts";
import { formatFrame } from "../../net/wire/format.ts";
import { parseIcmp } from "../../net/wire/icmp.ts";
import { parseIpv4Packet } from "../../net/wire/ipv4.ts";
import { tcpChecksumValid } from "../../net/wire/tcp.ts";
import { udpChecksumValid } from "../../net/wire/udp.ts";
import { NONCE, SCENE } from "./_scene_fixture.ts";
import * as frames from "./frames.ts";
import { markOf, marksIn } from "./mark.ts";
import { ipv4, ipv6 } from "./scene.ts";

const { IP, INNER } = frames;
const { link } = SCENE;
const MARK = markOf(NONCE, { row: 0x0102, frame: 0x0304 });
const TO = ipv4("203.0.113.10");

Deno.test("markOf() is the nonce, the attempt and the frame", () => {
  assert.equal(MARK.toHex(), "c0ffee0123456789" + "0102" + "0304");
  const somewhere = new Uint8Array(40);
  somewhere.set(MARK, 13);
  assert.deepEqual(marksIn(NONCE, somewhere.subarray(5)), [{ row: 0x0102, frame: 0x0304 }]);
  assert.deepEqual(marksIn(NONCE, somewhere.subarray(0, 24)), [], "cut");
  assert.deepEqual(marksIn(NONCE.map((b) => b ^ 1), somewhere), []);
  somewhere.set(markOf(NONCE, { row: 5, frame: 6 }), 28);
  assert.deepEqual(
    marksIn(NONCE, somewhere).map(({ row }) => row),
    [0x0102, 5],
    "of two datagrams",
  );
});

Deno.test("udpFrame() is a whole datagram around a WireGuard message with the mark", () => {
  const frame = frames.udpFrame(link, MARK);
  assert.equal(
    frame.slice(0, INNER + 8 + 32).toHex(),
    // Ethernet
    "020000006401" + "525400006402" + "0800" +
      // IPv4
      "4500007c000740004011" + "f115" + "c0a86402" + "c0a86401" +
      // UDP
      "f1f1ca6c0068" + frame.slice(40, 42).toHex() +
      // WireGuard: transport data; the mark
      "04000000" + "00".repeat(12) + MARK.toHex() + "00000000",
  );
  assert.ok(
    udpChecksumValid(
      frame,
      INNER,
      frame.length - INNER,
      ipv4("192.168.100.2"),
      ipv4("192.168.100.1"),
    ),
  );
  assert.notEqual(typeof parseIpv4Packet(frame.subarray(IP)), "string");
});

Deno.test("every kind of frame is what it says, its checksums right", () => {
  const words = (frame: Uint8Array): string => formatFrame(frame, 0, frame.length);
  const syn = frames.synFrame(link, MARK, 80, { to: TO });
  assert.match(words(syn), /^TCP 192\.168\.100\.2:61937 > 203\.0\.113\.10:80 .*S/);
  assert.ok(tcpChecksumValid(syn, INNER, syn.length - INNER, link.guestAddress, TO));
  const ping = frames.pingFrame(link, MARK, { to: TO });
  assert.match(words(ping), /^ICMP 192\.168\.100\.2 > 203\.0\.113\.10 echo request/);
  assert.notEqual(typeof parseIcmp(ping.subarray(INNER)), "string");
  const arp = frames.arpFrame(link, MARK, { target: TO });
  assert.equal(arp.length, 60);
  assert.notEqual(typeof parseArp(arp.subarray(IP)), "string");
  const fragment = frames.udpFrame(link, MARK, { fragment: 0x2000 });
  assert.equal(onesSum(fragment, IP, 20), 0xffff);
  const twice = frames.tagged(frames.tagged(fragment, ETHERTYPE.vlan), ETHERTYPE.serviceVlan);
  assert.equal(twice.slice(12, 22).toHex(), "88a80001" + "81000001" + "0800");
  for (const frame of [syn, ping, arp, fragment, twice]) {
    assert.deepEqual(marksIn(NONCE, frame), [{ row: 0x0102, frame: 0x0304 }]);
  }
});

Deno.test("ip6Frame() completes the checksum over its pseudo header", () => {
  const to = ipv6("fd00:1::100");
  const frame = frames.ip6Frame(link, {
    destinationMac: link.gatewayMac,
    from: frames.GUEST6,
    to,
    next: frames.NEXT_HEADER.udp,
    inner: frames.udp6(53, frames.payload(MARK)),
    checksumAt: 6,
  });
  const length = frame.length - IP - 40;
  assert.equal(frame.slice(12, 22).toHex(), "86dd60000000" + "0068" + "1110");
  // RFC 8200 section 8.1: addresses, length, next header, and the datagram add up to nothing.
  const pseudo = onesSum(frame, IP + 8, 32, length + frames.NEXT_HEADER.udp);
  assert.equal(onesSum(frame, IP + 40, length, pseudo), 0xffff);
});
