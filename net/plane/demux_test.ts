import assert from "node:assert/strict";
import fc from "fast-check";
import { KIND, kindOf } from "./demux.ts";

function kindOfHex(hex: string, length: number): number {
  const bytes = new Uint8Array(length + 3).fill(0xa5);
  bytes.set(Uint8Array.fromHex(hex), 3);
  return kindOf(bytes, 3, length);
}

Deno.test.each([
  { what: "an initiation", hex: "01000000", length: 148, want: KIND.wireguard },
  { what: "a response", hex: "02000000", length: 92, want: KIND.wireguard },
  { what: "a cookie reply", hex: "03000000", length: 64, want: KIND.wireguard },
  { what: "a keepalive", hex: "04000000", length: 32, want: KIND.wireguard },
  { what: "reserved bytes that are not zero", hex: "04000100", length: 32, want: KIND.unknown },
  { what: "type 5", hex: "05000000", length: 32, want: KIND.unknown },
  { what: "a short WireGuard message", hex: "04000000", length: 31, want: KIND.unknown },
  { what: "control without network id", hex: "00", length: 29, want: KIND.control },
  { what: "control with network id", hex: "10", length: 200, want: KIND.control },
  { what: "a short control datagram", hex: "00", length: 28, want: KIND.unknown },
  { what: "a STUN request", hex: "000100002112a442", length: 40, want: KIND.unknown },
  { what: "a STUN answer", hex: "010100002112a442", length: 40, want: KIND.unknown },
  { what: "DHT", hex: "64", length: 100, want: KIND.unknown },
  { what: "nothing", hex: "", length: 0, want: KIND.unknown },
])("kindOf() knows $what", ({ hex, length, want }) => {
  assert.equal(kindOfHex(hex, length), want);
});

Deno.test("kindOf() never throws on any bytes", () => {
  fc.assert(fc.property(fc.uint8Array({ maxLength: 64 }), fc.nat(80), (bytes, length) => {
    assert.ok([KIND.unknown, KIND.wireguard, KIND.control].includes(kindOf(bytes, 0, length)));
  }));
});
