/**
 * The report of a proof: what was tried, what came of it, where and by which program, signed with
 * the peer's key, so that it can be handed on and checked elsewhere.
 *
 * The file is JSON of one form only: UTF-8, keys in the order of their names, two spaces, a line break
 * at the end. Whoever checks it writes it anew and compares, so a changed byte anywhere is found; the
 * signature is over {@link CONTEXT} and the report in that same form. It says that the owner of the
 * key vouches for it, not that the owner is honest.
 *
 * @module
 */

import { z } from "zod";
import { EXIT, OmertaError } from "../core/errors.ts";
import { type Identity, verifySignature } from "../core/identity.ts";
import { peerIdOf } from "../core/ids.ts";

/** What is signed begins with this: a signature for one purpose is none for another. */
const CONTEXT = "omerta isolation proof v1\n";
/** Longest report, in bytes. */
const MAX_LENGTH = 4 << 20;

/** Bytes as hex, of which there is one form. */
const Hex = z.string().regex(/^(?:[0-9a-f]{2})+$/, "want hex");

const RowSchema = z.strictObject({
  /** Name of the attempt. */
  id: z.string(),
  /** What was tried. */
  tries: z.string(),
  /** What would have happened if the wall leaked. */
  leak: z.string(),
  /** What had to happen. */
  expected: z.enum(["refused", "passes", "refused twice", "ended"]),
  /** Whether it did; `unproven` when a control did not hold. */
  outcome: z.enum(["held", "leaked", "unproven"]),
  /** What speaks against it; empty when it is held. */
  why: z.string(),
  /** Frames and datagrams that left the guest. */
  sent: z.int(),
  /** What the filter refused meanwhile, by reason. */
  refused: z.record(z.string(), z.int()),
});
/** One attempt and what came of it. */
export type Row = z.infer<typeof RowSchema>;

const ProofSchema = z.strictObject({
  /** How the VM's network was looked at. */
  mode: z.string(),
  /** Id of the VM; null when it did not come up. */
  vm: z.string().nullable(),
  /** What ran its instructions; null when it is not known. */
  accelerator: z.string().nullable(),
  /** What was tried. */
  rows: z.array(RowSchema),
});
/** What was found out about one VM. */
export type Proof = z.infer<typeof ProofSchema>;

const ReportSchema = z.strictObject({
  /** Version of this form. */
  version: z.literal(1),
  /** Id of the peer that vouches. */
  peer: z.string(),
  /** When it was made: ISO 8601, UTC. */
  made: z.string(),
  /** Version of the program. */
  program: z.string(),
  /**
   * `guest`: a probe in a VM of its own tried everything, in a network made for it. `frames`: the
   * filter of a VM that is lent was asked what it would do.
   */
  kind: z.enum(["guest", "frames"]),
  /** The machine it was made on. */
  host: z.strictObject({
    /** Operating system and its version. */
    system: z.string(),
    /** Processor. */
    arch: z.string(),
    /** Processors. */
    cpus: z.int(),
    /** What runs VMs, with its version. */
    hypervisor: z.string(),
  }),
  /** Id of the image; null when it is not known. */
  image: z.string().nullable(),
  /** Beginnings of the attempts that were made; none when it was all of them. */
  only: z.array(z.string()),
  /** One for each mode. */
  proofs: z.array(ProofSchema),
});
/** A report, without its signature. */
export type Report = z.infer<typeof ReportSchema>;

const SignedReport = z.strictObject({
  /** The report. */
  report: ReportSchema,
  /** Ed25519 public key of the peer, hex. */
  peerKey: Hex,
  /** Ed25519 signature, hex. */
  signature: Hex,
});

/** Whether everything that was tried held, and something was tried. */
export function isHeld(report: Pick<Report, "proofs">): boolean {
  const rows = report.proofs.flatMap((proof) => proof.rows);
  return rows.length > 0 && report.proofs.every((proof) => proof.rows.length > 0) &&
    rows.every(({ outcome }) => outcome === "held");
}

/** The text of a report's file. */
export function signReport(report: Report, identity: Identity): string {
  return canonical({
    report,
    peerKey: identity.peerKey.toHex(),
    signature: identity.sign(signedBytes(report)).toHex(),
  });
}

/**
 * Checks the bytes of a report's file.
 *
 * @returns The report, which the owner of the key that `peer` names has signed.
 * @throws {OmertaError} `report-invalid`, exit code 5, saying what is wrong.
 */
export function verifyReport(file: Uint8Array): Report {
  if (file.length > MAX_LENGTH) throw invalid("it is too long");
  let text: string;
  let json: unknown;
  try {
    text = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(file);
    json = JSON.parse(text);
  } catch {
    throw invalid("it is not JSON");
  }
  const parsed = SignedReport.safeParse(json);
  if (!parsed.success) {
    const issue = parsed.error.issues[0];
    throw invalid(`${issue?.path.join(".") || "the file"}: ${issue?.message}`);
  }
  if (canonical(parsed.data) !== text) throw invalid("it was changed after it was written");
  const { report, peerKey, signature } = parsed.data;
  const key = Uint8Array.fromHex(peerKey);
  if (!verifySignature(key, signedBytes(report), Uint8Array.fromHex(signature))) {
    throw invalid("the signature does not fit");
  }
  if (peerIdOf(key) !== report.peer) throw invalid("it was signed by another peer than it names");
  return report;
}

function signedBytes(report: Report): Uint8Array {
  return new TextEncoder().encode(CONTEXT + canonical(report));
}

/** The one form of a value. */
function canonical(value: unknown): string {
  return `${JSON.stringify(sorted(value), null, 2)}\n`;
}

/** The same value, the keys of its objects in the order of their names. */
function sorted(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(sorted);
  if (typeof value !== "object" || value === null) return value;
  const entries = Object.entries(value).sort(([a], [b]) => a < b ? -1 : 1);
  return Object.fromEntries(entries.map(([key, inner]) => [key, sorted(inner)]));
}

function invalid(why: string): OmertaError {
  return new OmertaError("report-invalid", `Cannot trust the report: ${why}`, {
    exit: EXIT.refused,
    next: "Ask whoever made it for the file as 'omerta prove --report' wrote it",
  });
}
