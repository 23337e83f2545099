import assert from "node:assert/strict";
import fc from "fast-check";
import { OmertaError } from "../core/errors.ts";
import { generateIdentity, Identity } from "../core/identity.ts";
import { isHeld, type Report, type Row, signReport, verifyReport } from "./report.ts";

const identity = new Identity(generateIdentity(0));

const ROW: Row = {
  id: "internet",
  tries: "UDP, TCP and ICMP",
  leak: "it answers",
  expected: "refused",
  outcome: "held",
  why: "",
  sent: 7,
  refused: { destination: 7 },
};

const REPORT: Report = {
  version: 1,
  peer: identity.peerId,
  made: "2026-01-02T03:04:05.678Z",
  program: "0.1.0",
  kind: "guest",
  host: { system: "linux 6.18", arch: "x86_64", cpus: 2, hypervisor: "QEMU 7.2" },
  image: "0123456789abcdef",
  only: [],
  proofs: [{ mode: "filtered", vm: "00112233445566ff", accelerator: "tcg", rows: [ROW] }],
};

const utf8 = new TextEncoder();

function refusalOf(file: string | Uint8Array): string {
  try {
    verifyReport(typeof file === "string" ? utf8.encode(file) : file);
  } catch (error) {
    assert.ok(error instanceof OmertaError);
    assert.equal(error.code, "report-invalid");
    assert.equal(error.exit, 5);
    return error.message;
  }
  return "";
}

Deno.test("N15: verifyReport() gives back what was signed", () => {
  assert.deepEqual(verifyReport(utf8.encode(signReport(REPORT, identity))), REPORT);
});

Deno.test("N15: verifyReport() refuses a report of which any byte was changed", () => {
  const text = signReport(REPORT, identity);
  const bytes = utf8.encode(text);
  fc.assert(
    fc.property(fc.nat(bytes.length - 1), fc.integer({ min: 1, max: 255 }), (at, change) => {
      const other = bytes.slice();
      other[at] = (other[at] ?? 0) ^ change;
      assert.notEqual(refusalOf(other), "", `byte ${at} ^ ${change}`);
    }),
    { numRuns: 5000 },
  );
});

Deno.test("N15: verifyReport() refuses a byte more, a byte less, and other forms of the same", () => {
  const text = signReport(REPORT, identity);
  for (
    const other of [
      text + "\n",
      " " + text,
      "\ufeff" + text,
      text.slice(0, -1),
      JSON.stringify(JSON.parse(text)),
      text.replace('"why": ""', '"why": "", "why": ""'),
      text.replace('"x86_64"', '"x86\\u005f64"'),
      "",
      "{}",
      "null",
      "x".repeat((4 << 20) + 1),
    ]
  ) assert.notEqual(refusalOf(other), "", other.slice(0, 80));
});

Deno.test("N15: verifyReport() refuses what another peer signed", () => {
  const other = new Identity(generateIdentity(1));
  assert.match(refusalOf(signReport(REPORT, other)), /another peer than it names/);
  const forged = JSON.parse(signReport(REPORT, identity));
  forged.peerKey = other.peerKey.toHex();
  assert.match(refusalOf(`${JSON.stringify(forged, null, 2)}\n`), /changed|does not fit/);
});

Deno.test("verifyReport() never throws anything but report-invalid", () => {
  fc.assert(fc.property(fc.string(), (text) => {
    assert.notEqual(refusalOf(text), "");
  }));
  fc.assert(fc.property(fc.json(), (text) => {
    assert.notEqual(refusalOf(text), "");
  }));
});

Deno.test("isHeld() wants every row of every proof held, and at least one", () => {
  const proof = (...rows: Row[]): Report["proofs"][number] => ({
    mode: "filtered",
    vm: "0",
    accelerator: null,
    rows,
  });
  assert.equal(isHeld({ proofs: [proof(ROW)] }), true);
  assert.equal(isHeld({ proofs: [] }), false);
  assert.equal(isHeld({ proofs: [proof(ROW), proof()] }), false);
  for (const outcome of ["leaked", "unproven"] as const) {
    assert.equal(isHeld({ proofs: [proof(ROW, { ...ROW, outcome })] }), false);
  }
});
