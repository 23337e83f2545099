/**
 * The options of every command that borrows a VM, and the request that they make.
 *
 * @module
 */

import { type CommandUnknownOpts, Option } from "@commander-js/extra-typings";
import { z } from "zod";
import type { RequestBody } from "../lib/api/schemas.ts";
import { parseHostPort } from "../lib/core/link.ts";
import { DEFAULT_MODE, VmMode } from "../lib/node/messages.ts";
import { DIRECT_BORROWER_WARNING } from "../lib/node/modes.ts";
import { warn } from "./output.ts";
import {
  parseCount,
  parseDiskGiB,
  parseMemoryMiB,
  parseSeconds,
  parseTimeout,
  parseVmName,
  randomVmName,
} from "./values.ts";

/** The options, as commander hands them over. */
export const VmOptions = z.object({
  /** The lender. */
  provider: z.string(),
  /** Name of the VM. */
  name: z.string().optional(),
  /** Virtual processors. */
  cpu: z.number(),
  /** Memory in MiB. */
  memory: z.number(),
  /** Disk in GiB. */
  disk: z.number(),
  /** An image of the lender's. */
  image: z.string().optional(),
  /** The VM ends by itself after this, in seconds. */
  ttl: z.number().optional(),
  /** Time from the request to ready, in seconds. */
  timeout: z.number().optional(),
  /** How closely the lender looks at its network. */
  mode: VmMode,
  /** Whether a daemon is started when none runs. */
  autostart: z.boolean(),
});
/** The options, as commander hands them over. */
export type VmOptions = z.infer<typeof VmOptions>;

/**
 * What the help says of the modes; docs/security.md has the whole of it. In every mode but direct the
 * VM reaches its borrower only.
 */
const MODE_HELP =
  "how closely the lender looks at the VM's network. filtered, the default because " +
  "it is the strictest and forgives: every packet is judged, a bad one dropped. conntrack: the " +
  "first of a flow is judged, a bad one ends the VM. sampled: a share is judged, a bad one in it " +
  "ends the VM; it notices less and leaks more than filtered. ebpf: as filtered, by the lender's " +
  "kernel, for which the lender must be root. direct: besides, the VM uses the lender's own " +
  "connection and reaches the lender's network; only where the lender has allowed it";

/** Adds the options to a command. */
export function withVmOptions(command: CommandUnknownOpts): CommandUnknownOpts {
  return command
    .requiredOption("--provider <address>", "the lender: ADDRESS or ADDRESS:PORT")
    .option("--name <name>", "name of the VM, also its host name", parseVmName)
    .option("--cpu <count>", "virtual processors", parseCount("--cpu"), 1)
    .option("--memory <size>", "memory: MiB, or as in 2G", parseMemoryMiB("--memory"), 1024)
    .option("--disk <size>", "disk: GiB, or as in 1T", parseDiskGiB("--disk"), 10)
    .option("--image <name>", "an image of the lender's, by name or id")
    .option("--ttl <time>", "end the VM after this time, as in 2h", parseSeconds("--ttl"))
    .option("--timeout <time>", "give up when it is not ready by then", parseTimeout)
    .addOption(
      new Option("--mode <mode>", MODE_HELP).choices(VmMode.options).default(DEFAULT_MODE),
    )
    .option("--no-autostart", "do not start a daemon when none runs");
}

/**
 * The request that the options make, which waits until the VM is ready. Warns of what mode direct
 * means.
 *
 * @throws {OmertaError} When the lender's address cannot be one.
 */
export function requestOf(options: VmOptions): RequestBody {
  parseHostPort(options.provider);
  if (options.mode === "direct") warn(DIRECT_BORROWER_WARNING);
  return {
    provider: options.provider,
    name: options.name ?? randomVmName(),
    cpus: options.cpu,
    memoryMiB: options.memory,
    diskGiB: options.disk,
    mode: options.mode,
    wait: true,
    dryRun: false,
    ...(options.image === undefined ? {} : { image: options.image }),
    ...(options.ttl === undefined ? {} : { ttlSeconds: options.ttl }),
    ...(options.timeout === undefined ? {} : { timeoutMs: options.timeout * 1000 }),
  };
}
