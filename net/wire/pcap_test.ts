import assert from "node:assert/strict";
import fc from "fast-check";
import { captured } from "../../tests/doubles/captured_frames.ts";
import { guestFrame } from "../../tests/doubles/guest_frames.ts";
import { commandMissing, testIf } from "../../tests/support/requires.ts";
import { run } from "../../lib/core/process.ts";
import { PCAP_HEAD_LEN, PCAP_RECORD_LEN, type PcapFrame, writePcap } from "./pcap.ts";

const frame = (time: number, bytes: Uint8Array, length = bytes.length): PcapFrame => ({
  ...{ time, length, bytes },
});

Deno.test("N12: writePcap() writes head and records as the format says", () => {
  const file = writePcap([frame(1_700_000_000_123.5, Uint8Array.of(1, 2, 3), 1514)], 256);
  assert.equal(
    file.toHex(),
    // magic, versions, two zeros, snaplen, link type
    "d4c3b2a1" + "02000400" + "00000000" + "00000000" + "00010000" + "01000000" +
      // seconds, microseconds, kept, true length, bytes
      "00f15365" + "6ce20100" + "03000000" + "ea050000" + "010203",
  );
});

Deno.test("N12: writePcap() cuts what is longer than the snap length, and no frame is shorter than what is kept", () => {
  const [long, lying] = [captured("ping"), captured("dns")];
  const file = writePcap([frame(0, long), frame(0, lying, 1)], 60);
  const view = new DataView(file.buffer);
  const second = PCAP_HEAD_LEN + PCAP_RECORD_LEN + 60;
  assert.deepEqual([view.getUint32(32, true), view.getUint32(36, true)], [60, long.length]);
  assert.equal(view.getUint32(second + 8, true), lying.length);
  assert.equal(view.getUint32(second + 12, true), lying.length);
  assert.equal(file.length, second + PCAP_RECORD_LEN + lying.length);
});

Deno.test("N12: writePcap() takes any frames", () => {
  const any = fc.record({ time: fc.double({ min: 0, max: 4e12, noNaN: true }), length: fc.nat() })
    .chain((head) => fc.uint8Array({ maxLength: 300 }).map((bytes) => ({ ...head, bytes })));
  fc.assert(fc.property(fc.array(any, { maxLength: 8 }), (frames) => {
    const file = writePcap(frames, 256);
    const view = new DataView(file.buffer);
    let at = PCAP_HEAD_LEN;
    for (const { time, bytes } of frames) {
      assert.equal(view.getUint32(at, true), Math.floor(time / 1000));
      assert.ok(view.getUint32(at + 4, true) < 1_000_000);
      const kept = view.getUint32(at + 8, true);
      assert.ok(kept <= view.getUint32(at + 12, true));
      assert.deepEqual(
        file.subarray(at + PCAP_RECORD_LEN, at + PCAP_RECORD_LEN + kept),
        bytes.subarray(0, 256),
      );
      at += PCAP_RECORD_LEN + kept;
    }
    assert.equal(at, file.length);
  }));
});

testIf(commandMissing("tcpdump"), "N12: tcpdump reads what writePcap() wrote", async () => {
  const path = await Deno.makeTempFile({ prefix: "omerta-", suffix: ".pcap" });
  try {
    const long = guestFrame({ destination: 0x08080808, destinationPort: 53 });
    await Deno.writeFile(
      path,
      writePcap([
        frame(Date.UTC(2026, 0, 2, 3, 4, 5, 678), captured("ping")),
        frame(Date.UTC(2026, 0, 2, 3, 4, 6, 1), long.subarray(0, 60), long.length),
      ], 60),
    );
    const { code, stdout, stderr } = await run("tcpdump", ["-nn", "-tttt", "-r", path], {
      env: { TZ: "UTC" },
    });
    assert.equal(code, 0, stderr);
    assert.match(stderr, /link-type EN10MB/);
    const [ping, cut, ...more] = stdout.trim().split("\n");
    assert.match(
      ping ?? "",
      /^2026-01-02 03:04:05\.678000 IP 192\.168\.100\.2 > [0-9.]+: ICMP echo request/,
    );
    assert.match(
      cut ?? "",
      /^2026-01-02 03:04:06\.001000 IP 192\.168\.100\.2\.40000 > 8\.8\.8\.8\.53/,
    );
    assert.deepEqual(more, []);
  } finally {
    await Deno.remove(path);
  }
});
