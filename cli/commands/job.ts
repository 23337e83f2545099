/**
 * `omerta job`: the jobs in the background.
 *
 * @module
 */

import { Command, type CommandUnknownOpts } from "@commander-js/extra-typings";
import type { Context } from "../context.ts";
import { stopJob, work } from "../job/background.ts";
import { type JobRecord, JobStore } from "../job/job_store.ts";
import { formatAge, formatBytes, note, print, printJson } from "../output.ts";
import { printTable } from "../table.ts";

/** The command. */
export function jobCommand(context: Context): CommandUnknownOpts {
  const store = new JobStore(context.paths.jobs);
  return new Command("job")
    .description("List, read and end the jobs of 'omerta submit'")
    .addCommand(listCommand(store))
    .addCommand(showCommand(store))
    .addCommand(logsCommand(store))
    .addCommand(stopCommand(store))
    .addCommand(
      new Command("work").description("Be the process of a job").argument("<id>")
        .action((id) => work(context, id)),
      { hidden: true },
    );
}

function listCommand(store: JobStore): CommandUnknownOpts {
  return new Command("list")
    .description("List the jobs that run or ran")
    .option("--json", "print JSON")
    .action(async ({ json }) => {
      const jobs = await store.list();
      if (json) {
        printJson(jobs);
        return;
      }
      printTable(
        ["id", "state", "exit code", "lender", "age", "description"],
        jobs.map((job) => [
          job.id,
          job.state,
          job.exitCode === undefined ? "" : String(job.exitCode),
          job.spec.request.provider,
          formatAge(Date.now() - job.created),
          job.description,
        ]),
        "No job was submitted",
      );
    });
}

function showCommand(store: JobStore): CommandUnknownOpts {
  return new Command("show")
    .description("Print how far a job is, or how it ended, and what was done for it")
    .argument("<id>", "id, or a unique beginning")
    .option("--json", "print JSON")
    .action(async (id, { json }) => {
      const job = await store.find(id);
      if (json) {
        printJson(job);
        return;
      }
      for (const [name, value] of factsOf(job, store)) print(`${name.padEnd(13)}${value}`);
      const log = (await Deno.readTextFile(store.file(job.id, "log"))).trimEnd();
      if (log !== "") print(`\n${log}`);
    });
}

function factsOf(job: JobRecord, store: JobStore): [string, string][] {
  const { request } = job.spec;
  const facts: [string, string | undefined][] = [
    ["job", job.id],
    ["description", job.description || undefined],
    ["state", job.state],
    ["exit code", job.exitCode?.toString()],
    ["error", job.error],
    ["lender", request.provider],
    ["VM", `${request.name}: ${request.cpus} processors, ${request.memoryMiB} MiB`],
    ["VPN", job.spec.vpnConfig],
    ["submitted", new Date(job.created).toISOString()],
    ["ended", job.ended === undefined ? undefined : new Date(job.ended).toISOString()],
    ["output", store.folderOf(job.id)],
    ["not kept", job.dropped === 0 ? undefined : `${formatBytes(job.dropped)} of its output`],
  ];
  return facts.flatMap(([name, value]) => value === undefined ? [] : [[name, value]]);
}

function logsCommand(store: JobStore): CommandUnknownOpts {
  return new Command("logs")
    .description("Print what a job's command has printed so far, each stream to its own")
    .argument("<id>", "id, or a unique beginning")
    .action(async (id) => {
      const job = await store.find(id);
      await copyTo(store.file(job.id, "stdout"), Deno.stdout);
      await copyTo(store.file(job.id, "stderr"), Deno.stderr);
      if (job.dropped > 0) note(`${formatBytes(job.dropped)} more were not kept`);
    });
}

async function copyTo(path: string, out: typeof Deno.stdout): Promise<void> {
  const file = await Deno.open(path);
  await file.readable.pipeTo(out.writable, { preventClose: true });
}

function stopCommand(store: JobStore): CommandUnknownOpts {
  return new Command("stop")
    .description("End a job and give its VM back")
    .argument("<id>", "id, or a unique beginning")
    .action(async (prefix) => {
      const { id } = await store.find(prefix);
      const stopped = await stopJob(store, id);
      const { state } = await store.find(id);
      print(stopped ? `Job ${id}: ${state}` : `Job ${id} had ended already: ${state}`);
    });
}
