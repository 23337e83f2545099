/**
 * Runs benchmarks: `deno run -A tests/bench/main.ts [--json] [--runs N] [NAME...]`, all of them
 * without a name. With `--runs` each runs so many times; printed is the median, and the spread.
 *
 * @module
 */

import { parseArgs } from "node:util";
import { messageOf } from "../../lib/core/errors.ts";
import { type Bench, formatRows, mergeRuns, type Row } from "./bench.ts";
import { ebpfBench } from "./ebpf.ts";
import { filterBench } from "./filter.ts";
import { memoryBench } from "./memory.ts";
import { requestBench } from "./request.ts";
import { sshBench } from "./ssh.ts";
import { tcpBench } from "./tcp.ts";
import { tcpLossBench } from "./tcp_loss.ts";
import { tunnelBench } from "./tunnel.ts";

const BENCHES: readonly Bench[] = [
  filterBench,
  ebpfBench,
  memoryBench,
  tunnelBench,
  tcpBench,
  tcpLossBench,
  requestBench,
  sshBench,
];
const MOST_RUNS = 20;

/** What the command line asks for. */
interface Wanted {
  readonly json: boolean;
  readonly runs: number;
  readonly benches: readonly Bench[];
}

/** @throws {RangeError | TypeError} When it is not understood. */
function parse(args: string[]): Wanted {
  const { values, positionals } = parseArgs({
    args,
    allowPositionals: true,
    options: { json: { type: "boolean", default: false }, runs: { type: "string", default: "1" } },
  });
  if (
    !/^\d{1,2}$/.test(values.runs) || Number(values.runs) < 1 || Number(values.runs) > MOST_RUNS
  ) {
    throw new RangeError(`Cannot run ${values.runs} times: want 1 to ${MOST_RUNS}`);
  }
  const unknown = positionals.filter((name) => !BENCHES.some((bench) => bench.name === name));
  if (unknown.length > 0) {
    const known = BENCHES.map(({ name }) => name).join(", ");
    throw new RangeError(`Cannot run ${unknown.join(", ")}: want one of ${known}`);
  }
  const isWanted = ({ name }: Bench): boolean =>
    positionals.length === 0 || positionals.includes(name);
  return { json: values.json, runs: Number(values.runs), benches: BENCHES.filter(isWanted) };
}

async function main(args: string[]): Promise<number> {
  let wanted: Wanted;
  try {
    wanted = parse(args);
  } catch (error) {
    await print(Deno.stderr, messageOf(error));
    return 2;
  }
  const all: Row[] = [];
  for (const bench of wanted.benches) {
    const rows = await rowsOf(bench, wanted.runs);
    all.push(...rows);
    if (!wanted.json) await print(Deno.stdout, `${formatRows(rows)}\n`);
  }
  if (wanted.json) await print(Deno.stdout, JSON.stringify(all, undefined, 2));
  return 0;
}

async function rowsOf({ name, missing, run }: Bench, count: number): Promise<Row[]> {
  if (missing !== undefined) {
    return [{ name, value: undefined, unit: "", note: `skipped: ${missing}` }];
  }
  const runs: (readonly Row[])[] = [];
  for (let i = 1; i <= count; i++) {
    await print(Deno.stderr, count > 1 ? `${name}, ${i} of ${count}...` : `${name}...`);
    runs.push(await run());
  }
  return mergeRuns(runs);
}

async function print(
  to: { write(bytes: Uint8Array): Promise<number> },
  text: string,
): Promise<void> {
  const bytes = new TextEncoder().encode(`${text}\n`);
  for (let at = 0; at < bytes.length;) at += await to.write(bytes.subarray(at));
}

if (import.meta.main) Deno.exit(await main(Deno.args));
