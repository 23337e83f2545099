/**
 * The options of the commands that run jobs.
 *
 * @module
 */

import { resolve } from "node:path";
import { type CommandUnknownOpts, Option } from "@commander-js/extra-typings";
import { z } from "zod";
import { loadConfig } from "../../lib/core/config.ts";
import { EXIT, OmertaError } from "../../lib/core/errors.ts";
import type { Context } from "../context.ts";
import { requestOf, VmOptions, withVmOptions } from "../vm_options.ts";
import { findInputs, findOutputs } from "./copies.ts";
import { readVpnConfig } from "./guest_vpn.ts";
import { jobCommand } from "./remote_command.ts";
import { type JobSpec, LANGUAGES, type Work } from "./spec.ts";

/** Longest script, in bytes. */
const MAX_SCRIPT_BYTES = 1024 * 1024;

/** What is common to them, as commander hands it over. */
export const JobOptions = VmOptions.extend({
  /** Files and folders that are copied into the VM. */
  input: z.array(z.string()).default([]),
  /** What is copied back. */
  output: z.array(z.string()).default([]),
  /** Environment variables: `NAME=VALUE`. */
  env: z.array(z.string()).default([]),
  /** A wg-quick file. */
  vpnConfig: z.string().optional(),
});
/** What is common to them. */
export type JobOptions = z.infer<typeof JobOptions>;

/** What is common to those that run a script. */
export const ScriptOptions = JobOptions.extend({
  /** The script: text, `@FILE`, or `-`. */
  script: z.string(),
  /** What it is written in. */
  language: z.enum(["bash", "python"]),
});

/** Adds the options of a job. */
export function withJobOptions(command: CommandUnknownOpts): CommandUnknownOpts {
  const more = (text: string, before: string[] = []): string[] => [...before, text];
  return withVmOptions(command)
    .option("--input <path>", "copy a file or folder into the job's folder; repeatable", more)
    .option(
      "--output <remote[:local]>",
      "copy a file or folder back at the end; repeatable",
      more,
    )
    .option("--env <name=value>", "set an environment variable; repeatable", more)
    .option(
      "--vpn-config <file>",
      "wg-quick file of a WireGuard server of yours: the VM's way out, reached by way of this machine",
    );
}

/** Adds the options of a job that is a script. */
export function withScriptOptions(command: CommandUnknownOpts): CommandUnknownOpts {
  return withJobOptions(command)
    .requiredOption("--script <text>", "the script, or @FILE, or - for standard input")
    .addOption(
      new Option("--language <language>", "what it is written in")
        .choices(Object.keys(LANGUAGES)).default("bash"),
    );
}

/**
 * The job that the options ask for, everything about it checked that can be checked here.
 *
 * @throws {OmertaError} Naming the option.
 */
export async function jobOf(context: Context, options: JobOptions, work: Work): Promise<JobSpec> {
  await loadConfig(context.paths); // says what is wrong with it before a daemon is started
  const spec: JobSpec = {
    request: requestOf(options),
    work,
    env: options.env.map(parseEnv),
    inputs: await findInputs(options.input),
    outputs: await findOutputs(options.output),
    ...(options.vpnConfig === undefined ? {} : { vpnConfig: resolve(options.vpnConfig) }),
  };
  if (spec.vpnConfig !== undefined) await readVpnConfig(spec.vpnConfig);
  jobCommand(spec); // refuses what is too long
  return spec;
}

/** The script that the options mean. */
export async function scriptOf(options: z.infer<typeof ScriptOptions>): Promise<Work> {
  const { script, language } = options;
  const text = await readScript(script);
  const bytes = new TextEncoder().encode(text).length;
  if (bytes > 0 && bytes <= MAX_SCRIPT_BYTES) return { kind: "script", language, text };
  throw new OmertaError(
    "bad-option",
    `Cannot use --script: it has ${bytes} bytes, want 1 to ${MAX_SCRIPT_BYTES}`,
    { exit: EXIT.usage, next: "Copy what is long with --input" },
  );
}

async function readScript(script: string): Promise<string> {
  if (script === "-") return await new Response(Deno.stdin.readable).text();
  if (!script.startsWith("@")) return script;
  const path = script.slice(1);
  try {
    return await Deno.readTextFile(path);
  } catch (error) {
    throw new OmertaError("bad-option", `Cannot use --script '${script}': cannot read ${path}`, {
      exit: EXIT.usage,
      cause: error,
    });
  }
}

/** `NAME=VALUE` as a pair; the value may be anything. */
function parseEnv(text: string): [string, string] {
  const match = /^([A-Za-z_][A-Za-z0-9_]*)=([^]*)$/.exec(text);
  if (match) return [match[1] ?? "", match[2] ?? ""];
  throw new OmertaError("bad-option", `Cannot use --env '${text}': want NAME=VALUE`, {
    exit: EXIT.usage,
  });
}
