/**
 * `omerta vm boot-test`: can this host run VMs? No borrower, no tunnel.
 *
 * @module
 */

import { Command, type CommandUnknownOpts, Option } from "@commander-js/extra-typings";
import { EXIT, OmertaError } from "../../lib/core/errors.ts";
import { bootTest, type BootTestMode, type BootTestResult } from "../../vm/boot_trial.ts";
import { chooseHypervisor } from "../../vm/choose_hypervisor.ts";
import { ImageStore } from "../../vm/image/store.ts";
import { VmManager } from "../../vm/manager.ts";
import { type Context, interruptible } from "../context.ts";
import { paint, print, printJson, StatusLine, warn } from "../output.ts";
import { parseMemoryMiB, parseSeconds } from "../values.ts";

const MODES: readonly BootTestMode[] = ["console-boot", "direct-ssh"];

/** The command. */
export function vmBootTestCommand(context: Context): CommandUnknownOpts {
  return new Command("boot-test")
    .description("Boot a VM on this host and say how far it gets")
    .addOption(
      new Option(
        "--mode <mode>",
        "console-boot: it sets itself up; direct-ssh: and SSH lets in, over QEMU's user network " +
          "with one forwarded port and nothing else",
      ).choices(MODES).default("console-boot"),
    )
    .option("--image <name>", "image, by name or id")
    .option("--memory <size>", "memory: MiB, or as in 2G", parseMemoryMiB("--memory"), 1024)
    .option("--timeout <time>", "time for everything", parseSeconds("--timeout"), 420)
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
      using line = new StatusLine();
      const show = (text: string): void => {
        if (options.json) return;
        line.clear();
        print(text);
      };
      await interruptible(async (signal) => {
        line.show("  booting");
        const result = await bootTest({
          mode: options.mode as BootTestMode,
          manager,
          image,
          timeoutMs: options.timeout * 1000,
          memoryMiB: options.memory,
          keep: options.keep === true,
          onStage: (stage, atMs) =>
            show(`  ${stage.padEnd(12)}${(atMs / 1000).toFixed(1).padStart(6)} s`),
          onLine: (text) => options.verbose && show(`    ${text}`),
          signal,
        });
        line.clear();
        if (options.json) printJson(jsonOf(result));
        if (result.error) throw result.error;
        if (!options.json) print(`${paint("green", "Passed")} (${result.mode}): ${result.proof}`);
        if (result.vm) await keepRunning(result.vm, signal);
      });
    });
}

async function keepRunning(
  vm: NonNullable<BootTestResult["vm"]>,
  signal: AbortSignal,
): Promise<void> {
  print(`The VM runs (process ${vm.pid}, console in ${vm.folder}); Ctrl-C ends it`);
  const interrupted = new Promise<string>((resolve) => {
    signal.addEventListener("abort", () => resolve("Ctrl-C"), { once: true });
  });
  const why = await Promise.race([interrupted, vm.exited]);
  if (!signal.aborted) {
    throw new OmertaError("vm-ended", `Cannot keep the VM running: ${why}`, { exit: EXIT.failed });
  }
}

function jsonOf(result: BootTestResult): unknown {
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
