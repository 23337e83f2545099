/**
 * `omerta prove`: that a lent VM reaches nothing but its borrower, tried out on this host.
 *
 * @module
 */

import { Command, type CommandUnknownOpts, Option } from "@commander-js/extra-typings";
import { ATTEMPTS } from "../../lib/prove/attempts.ts";
import { sweepPairs } from "../../lib/pair/pair.ts";
import { proveByFrames } from "../../lib/prove/frame_proof.ts";
import { proveByGuest } from "../../lib/prove/guest_proof.ts";
import { sweepLabs } from "../../lib/prove/netlab.ts";
import {
  isHeld,
  type Proof,
  type Report,
  signReport,
  verifyReport,
} from "../../lib/prove/report.ts";
import { identityOf, loadConfig } from "../../lib/core/config.ts";
import { EXIT, messageOf, OmertaError } from "../../lib/core/errors.ts";
import { writeFileAtomic } from "../../lib/core/files.ts";
import type { Identity } from "../../lib/core/identity.ts";
import { VERSION } from "../../lib/core/version.ts";
import { DEFAULT_MODE, VmMode } from "../../lib/node/messages.ts";
import { ImageStore } from "../../vm/image/store.ts";
import { findRequirements } from "../../vm/requirements.ts";
import { type Context, interruptible, runningDaemon } from "../context.ts";
import { endWith } from "../exit_code.ts";
import { paint, print, printJson, StatusLine, warn } from "../output.ts";
import { printTable } from "../table.ts";

/** What was found out, before it is signed. */
type Found = Pick<Report, "kind" | "image" | "proofs">;

/** The options, as commander hands them over. */
interface Options {
  readonly mode?: string[];
  readonly only?: string[];
  readonly image?: string;
  readonly json?: true;
  readonly report?: string;
  readonly verify?: string;
}

/** The command. */
export function proveCommand(context: Context): CommandUnknownOpts {
  return new Command("prove")
    .description(
      "Prove that a VM reaches nothing but its borrower. Without a name, a VM is booted for it in " +
        "networks of its own, and a probe in it tries everything as root (needs root). With the " +
        "name of a VM that this node lends, its live filter is asked what it would do",
    )
    .argument("[vm]", "a VM that is lent now, by name or id")
    .addOption(
      new Option("--mode <mode...>", "modes of the network, each proven with a VM of its own")
        .choices(VmMode.options),
    )
    .option("--only <attempt...>", "only attempts whose names begin so")
    .option("--image <name>", "image, by name or id")
    .option("--json", "print JSON")
    .option("--report <file>", "write a report, signed with this peer's key")
    .option("--verify <file>", "check such a report instead; needs nothing but the file")
    .action(async (name, options: Options) => {
      if (options.verify !== undefined) return await verify(options.verify, options.json === true);
      const only = options.only ?? [];
      checkOnly(only);
      // Said before a VM is booted for half a minute.
      const identity = options.report === undefined
        ? undefined
        : identityOf(await loadConfig(context.paths));
      const found = name === undefined
        ? await byGuest(context, options, only)
        : await byFrames(context, name, options, only);
      await tell(context, found, options, only, identity);
    });
}

function checkOnly(only: readonly string[]): void {
  const unknown = only.find((begin) => !ATTEMPTS.some(({ id }) => id.startsWith(begin)));
  if (unknown === undefined) return;
  throw new OmertaError("bad-option", `Cannot try '${unknown}': there is no such attempt`, {
    exit: EXIT.usage,
    next: `One of ${ATTEMPTS.map(({ id }) => id).join(", ")}`,
  });
}

async function byGuest(
  context: Context,
  options: Options,
  only: readonly string[],
): Promise<Found> {
  const { paths } = context;
  const missing = (await findRequirements(`${paths.vms}/accelerator`, paths.home))
    .find((one) => one.needed === "required" && one.found === undefined);
  if (missing) {
    throw new OmertaError("host-incomplete", `Cannot boot a VM here: ${missing.name} is missing`, {
      exit: EXIT.missing,
      next: missing.get ?? "See 'omerta check-deps'",
    });
  }
  const images = await ImageStore.open(paths.images);
  const image = options.image === undefined
    ? await images.default()
    : await images.find(options.image);
  const modes = (options.mode ?? [DEFAULT_MODE]).map((mode) => VmMode.parse(mode));
  for (const what of [...await sweepPairs(paths.home), ...await sweepLabs()]) warn(what);
  using line = new StatusLine();
  const proofs = await interruptible((signal) =>
    proveByGuest({
      modes: [...new Set(modes)],
      only,
      module: context.module,
      paths,
      image: image.id,
      onStep: (what) => line.show(what),
      signal,
    })
  );
  return { kind: "guest", image: image.id, proofs };
}

async function byFrames(
  context: Context,
  name: string,
  options: Options,
  only: readonly string[],
): Promise<Found> {
  if (options.mode !== undefined || options.image !== undefined) {
    throw new OmertaError(
      "bad-option",
      "Cannot choose mode or image of a VM that runs already",
      { exit: EXIT.usage, next: "Leave out the name, or the options" },
    );
  }
  using client = await runningDaemon(context);
  const { lending, port } = await client.status();
  const lent = lending?.vms.filter((vm) => !vm.dryRun) ?? [];
  const named = lent.filter((vm) => vm.name === name);
  const [vm, another] = named.length > 0 ? named : lent.filter(({ id }) => id.startsWith(name));
  if (vm === undefined || another !== undefined) {
    const why = vm === undefined ? "none of that name is lent" : "more than one is lent";
    throw new OmertaError("unknown-vm", `Cannot prove VM "${name}": ${why}`, {
      exit: EXIT.usage,
      next: "See 'omerta vm list'",
    });
  }
  if (vm.stage === "accepted" || vm.stage === "disk") {
    throw new OmertaError("vm-starting", `Cannot prove VM "${name}": it has no cable yet`, {
      exit: EXIT.unreachable,
      next: "Try again when it runs: see 'omerta vm list'",
    });
  }
  const addresses = Deno.networkInterfaces();
  return {
    kind: "frames",
    image: null,
    proofs: [await proveByFrames(client, vm, { only, addresses, port })],
  };
}

async function tell(
  context: Context,
  found: Found,
  options: Options,
  only: readonly string[],
  identity: Identity | undefined,
): Promise<void> {
  const isGood = isHeld(found);
  if (options.json) printJson({ held: isGood, only, ...found });
  else printFound(found);
  if (identity !== undefined && options.report !== undefined) {
    const report: Report = {
      version: 1,
      peer: identity.peerId,
      made: new Date().toISOString(),
      program: VERSION,
      host: await hostOf(context),
      only: [...only],
      ...found,
    };
    await writeFileAtomic(options.report, signReport(report, identity), 0o644);
    if (!options.json) print(`Report: ${options.report}, signed by peer ${identity.peerId}`);
  }
  if (!isGood) endWith(EXIT.failed);
}

async function hostOf({ paths }: Context): Promise<Report["host"]> {
  const found = await findRequirements(`${paths.vms}/accelerator`, paths.home);
  const version = (name: string): string | undefined => found.find((r) => r.name === name)?.found;
  const vfkit = version("vfkit");
  return {
    system: `${Deno.build.os} ${Deno.osRelease()}`,
    arch: Deno.build.arch,
    cpus: navigator.hardwareConcurrency,
    hypervisor: vfkit === undefined ? `QEMU ${version("qemu") ?? "unknown"}` : `vfkit ${vfkit}`,
  };
}

async function verify(file: string, json: boolean): Promise<void> {
  const bytes = await Deno.readFile(file).catch((error: unknown) => {
    throw new OmertaError("no-report", `Cannot read ${file}: ${messageOf(error)}`, {
      exit: EXIT.usage,
    });
  });
  const report = verifyReport(bytes);
  const isGood = isHeld(report);
  if (json) printJson({ valid: true, held: isGood, report });
  else {
    printFound(report);
    print(`Signed by peer ${report.peer} on ${report.made}, unchanged since`);
    const { system, arch, cpus, hypervisor } = report.host;
    print(`On ${system}, ${arch}, ${cpus} processors, ${hypervisor}; omerta ${report.program}`);
  }
  if (!isGood) endWith(EXIT.failed);
}

/** What kind of proof it is, a table for each VM, and what it amounts to. */
function printFound({ kind, proofs }: Pick<Found, "kind" | "proofs">): void {
  for (const proof of proofs) {
    const tried = kind === "guest"
      ? `a probe in a VM of its own (${proof.vm}, ${proof.accelerator}) tried it`
      : `the live filter of VM ${proof.vm} was asked what it would do; nothing was sent`;
    print(`Mode ${proof.mode}: ${proof.vm === null ? "no VM came up" : tried}`);
    print();
    printRows(proof);
    print();
  }
  const rows = proofs.flatMap((proof) => proof.rows);
  const count = (outcome: string): number => rows.filter((row) => row.outcome === outcome).length;
  const [leaked, unproven] = [count("leaked"), count("unproven")];
  if (leaked + unproven === 0) print(paint("green", `Held: all of ${rows.length}`));
  else print(paint("red", `Leaked: ${leaked}, unproven: ${unproven}, of ${rows.length}`));
}

function printRows({ rows }: Proof): void {
  printTable(
    ["attempt", "expected", "seen", "sent", "refused by the filter", ""],
    rows.map((row) => [
      row.id,
      row.expected,
      row.outcome === "held" ? paint("green", seenOf(row)) : paint("red", row.outcome),
      String(row.sent),
      Object.entries(row.refused).map(([reason, n]) => `${reason} ${n}`).join(", "),
      row.why,
    ]),
    "Nothing was tried",
  );
}

/** What was seen when it was what had to be. */
function seenOf({ expected }: Proof["rows"][number]): string {
  return expected === "passes" ? "passed" : expected;
}
