/**
 * `omerta vm boot-test`: can this host run VMs? In mode e2e: can it lend them?
 *
 * @module
 */

import { Command, type CommandUnknownOpts, Option } from "@commander-js/extra-typings";
import { EXIT, OmertaError } from "../../lib/core/errors.ts";
import { sweepPairs } from "../../lib/pair/pair.ts";
import { sweepLabs } from "../../lib/prove/netlab.ts";
import {
  BOOT_TEST_MODES,
  bootTest,
  type BootTestMode,
  type BootTestResult,
} from "../../vm/boot_trial.ts";
import { chooseHypervisor } from "../../vm/choose_hypervisor.ts";
import { ImageStore } from "../../vm/image/store.ts";
import { VmManager } from "../../vm/manager.ts";
import type { Stage } from "../../vm/stages.ts";
import { type E2eResult, e2eTest } from "../boot_test/e2e.ts";
import { type Context, interruptible } from "../context.ts";
import { paint, print, printJson, StatusLine, warn } from "../output.ts";
import { parseMemoryMiB, parseTimeout } from "../values.ts";

const MODES: readonly (BootTestMode | "e2e")[] = [...BOOT_TEST_MODES, "e2e"];

const MODE_HELP =
  "console-boot: it sets itself up. direct-ssh: and SSH lets in, over QEMU's user " +
  "network with one forwarded port and nothing else. reverse-ssh: it connects out to this host, " +
  "and SSH lets in through that connection. tap-ping (root): it answers ping on a TAP interface " +
  "in a network namespace of its own. e2e (root): a lender and a borrower on this host, in a " +
  "namespace of their own; request, filter, tunnel, a command through it, release";

/** The command. */
export function vmBootTestCommand(context: Context): CommandUnknownOpts {
  return new Command("boot-test")
    .description("Boot a VM on this host and say how far it gets")
    .addOption(new Option("--mode <mode>", MODE_HELP).choices(MODES).default("console-boot"))
    .option("--image <name>", "image, by name or id")
    .option("--memory <size>", "memory: MiB, or as in 2G", parseMemoryMiB("--memory"), 1024)
    .option("--timeout <time>", "time for everything", parseTimeout, 420)
    .option("--keep", "leave the VM running when it has passed, until Ctrl-C")
    .option("--verbose", "print its console")
    .option("--json", "print JSON")
    .action(async (options) => {
      const images = await ImageStore.open(context.paths.images);
      const image = options.image === undefined
        ? await images.default()
        : await images.find(options.image);
      await using manager = new VmManager({
        folder: context.paths.vms,
        hypervisor: await chooseHypervisor(),
        onWarning: warn,
      });
      await manager.sweep();
      const swept = [...await sweepPairs(context.paths.home), ...await sweepLabs()];
      for (const what of swept) warn(what);
      using line = new StatusLine();
      const show = (text: string): void => {
        if (options.json) return;
        line.clear();
        print(text);
      };
      await interruptible(async (signal) => {
        line.show("  booting");
        const common = {
          ...{ image, timeoutMs: options.timeout * 1000, memoryMiB: options.memory, signal },
          keep: options.keep === true,
          onStage: (stage: Stage, atMs: number): void =>
            show(`  ${stage.padEnd(12)}${(atMs / 1000).toFixed(1).padStart(6)} s`),
          onLine: (text: string): void => {
            if (options.verbose) show(`    ${text}`);
          },
        };
        const { mode } = options;
        const result = mode === "e2e"
          ? await e2eTest({ ...common, context })
          : await bootTest({ ...common, mode: mode as BootTestMode, manager });
        line.clear();
        if (options.json) printJson(jsonOf(result));
        if (result.error) throw result.error;
        if (!options.json) print(`${paint("green", "Passed")} (${result.mode}): ${result.proof}`);
        if (options.keep) await keepRunning(result, signal);
      });
    });
}

/** Waits for Ctrl-C, and ends what the test itself has started. */
async function keepRunning(result: BootTestResult | E2eResult, signal: AbortSignal): Promise<void> {
  if (result.mode !== "e2e") {
    const { vm } = result;
    if (vm) await untilCtrlC(`process ${vm.pid}, console in ${vm.folder}`, vm.exited, signal);
    return;
  }
  await using pair = result.pair;
  if (!pair) return;
  const { lender, borrower } = pair;
  const where = `OMERTA_HOME=${borrower.paths.home} and ${lender.paths.home}, in the network ` +
    `namespace of process ${lender.pid}`;
  await untilCtrlC(where, Promise.race([lender.ended, borrower.ended]), signal);
}

async function untilCtrlC(
  where: string,
  ended: Promise<string>,
  signal: AbortSignal,
): Promise<void> {
  print(`The VM runs (${where}); Ctrl-C ends it`);
  const interrupted = new Promise<string>((resolve) => {
    signal.addEventListener("abort", () => resolve("Ctrl-C"), { once: true });
  });
  const why = await Promise.race([interrupted, ended]);
  if (!signal.aborted) {
    throw new OmertaError("vm-ended", `Cannot keep the VM running: ${why}`, { exit: EXIT.failed });
  }
}

function jsonOf(result: BootTestResult | E2eResult): unknown {
  const { mode, accelerator, stages, proof, error, console: lines } = result;
  return {
    mode,
    accelerator: accelerator ?? null,
    passed: error === undefined,
    stages: stages.reached,
    failure: stages.failure ?? null,
    proof,
    console: lines,
  };
}
