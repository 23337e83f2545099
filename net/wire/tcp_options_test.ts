import assert from "node:assert/strict";
import fc from "fast-check";
import { viewOf } from "./bytes.ts";
import {
  TcpOptions,
  writeMss,
  writeSack,
  writeSackPermitted,
  writeTimestamps,
  writeWindowScale,
} from "./tcp_options.ts";

function read(hex: string): TcpOptions {
  const bytes = Uint8Array.fromHex(hex);
  const options = new TcpOptions();
  options.read(viewOf(bytes), 0, bytes.length);
  return options;
}

Deno.test("TcpOptions.read() reads what Linux puts into a SYN", () => {
  const options = read("020405b40402080a00112233445566770103 0307".replaceAll(" ", ""));
  assert.equal(options.mss, 1460);
  assert.ok(options.sackPermitted && options.timestamps);
  assert.deepEqual([options.value, options.echo, options.windowScale], [0x112233, 0x44556677, 7]);
});

Deno.test("TcpOptions.read() reads three SACK blocks beside timestamps", () => {
  const edges = [1, 2, 3, 4, 5, -6];
  const words = edges.map((n) => (n >>> 0).toString(16).padStart(8, "0")).join("");
  const options = read(`0101080a80000000000000010101051a${words}`);
  assert.equal(options.sackCount, 3);
  assert.deepEqual([...options.sackEdges.subarray(0, 6)], edges);
  assert.equal(options.value, -0x80000000);
});

Deno.test.each([
  { what: "an option of length 0", hex: "08000000" },
  { what: "an option of length 1", hex: "08010000" },
  { what: "an option that is cut off", hex: "0101080a0011" },
  { what: "a kind without a length", hex: "01010108" },
  { what: "timestamps of another length", hex: "0809000000000000000101 01".replaceAll(" ", "") },
  { what: "a SACK option without a block", hex: "05020101" },
  { what: "what is behind the end of the list", hex: "00000000080a00000001000000020101" },
  { what: "an unknown option", hex: "fd0412340101" },
])("TcpOptions.read() finds nothing in $what", ({ hex }) => {
  const options = read(hex);
  assert.ok(!options.timestamps && !options.sackPermitted);
  assert.deepEqual([options.mss, options.windowScale, options.sackCount], [0, -1, 0]);
});

Deno.test("TcpOptions.read() takes a window scale above 14 as 14 (RFC 7323 section 2.3)", () => {
  assert.equal(read("030360 01".replaceAll(" ", "")).windowScale, 14);
});

Deno.test("TcpOptions.read() forgets the segment before", () => {
  const options = new TcpOptions();
  const first = Uint8Array.fromHex("020405b40402080a00112233445566770103030701");
  options.read(viewOf(first), 0, first.length);
  options.read(viewOf(first), 0, 0);
  assert.ok(!options.timestamps && options.mss === 0);
});

Deno.test("TcpOptions.read() never throws on any bytes", () => {
  const options = new TcpOptions();
  fc.assert(fc.property(fc.uint8Array({ maxLength: 40 }), (bytes) => {
    options.read(viewOf(bytes), 0, bytes.length);
    assert.ok(options.sackCount <= 4);
  }));
});

Deno.test("TcpOptions.read() gives back what was written, and nothing else was", () => {
  const i32 = fc.integer({ min: -(2 ** 31), max: 2 ** 31 - 1 });
  fc.assert(
    fc.property(
      fc.nat(65535),
      fc.nat(14),
      i32,
      i32,
      fc.array(i32, { maxLength: 2 }),
      (m, w, v, e, b) => {
        const bytes = new Uint8Array(64).fill(0xa5);
        const view = viewOf(bytes);
        let at = 3;
        at += writeMss(view, at, m);
        at += writeWindowScale(view, at, w);
        at += writeSackPermitted(view, at);
        at += writeTimestamps(view, at, v, e);
        const edges = Int32Array.from(b.flatMap((n) => [n, (n + 1) | 0]));
        if (b.length > 0) at += writeSack(view, at, edges, b.length);
        const options = new TcpOptions();
        options.read(view, 3, at);
        assert.deepEqual([options.mss, options.windowScale, options.value, options.echo], [
          m,
          w,
          v,
          e,
        ]);
        assert.ok(options.sackPermitted && options.sackCount === b.length);
        assert.deepEqual(options.sackEdges.subarray(0, edges.length), edges);
        assert.ok(bytes.every((byte, i) => (i >= 3 && i < at) || byte === 0xa5));
      },
    ),
  );
});
