/**
 * Runs benchmarks: `deno run -A tests/bench/main.ts [--json] [NAME...]`, all of them without a name.
 *
 * @module
 */

import { type Bench, formatRows, type Row } from "./bench.ts";
import { filterBench } from "./filter.ts";
import { requestBench } from "./request.ts";
import { tunnelBench } from "./tunnel.ts";

const BENCHES: readonly Bench[] = [filterBench, tunnelBench, requestBench];

async function main(args: readonly string[]): Promise<number> {
  const json = args.includes("--json");
  const names = args.filter((arg) => arg !== "--json");
  const unknown = names.filter((name) => !BENCHES.some((bench) => bench.name === name));
  if (unknown.length > 0) {
    const known = BENCHES.map(({ name }) => name).join(", ");
    await print(Deno.stderr, `Cannot run ${unknown.join(", ")}: want one of ${known}`);
    return 2;
  }
  const rows: Row[] = [];
  for (const bench of BENCHES) {
    if (names.length > 0 && !names.includes(bench.name)) continue;
    if (bench.missing === undefined) {
      if (!json) await print(Deno.stderr, `${bench.name}...`);
      rows.push(...await bench.run());
    } else {
      rows.push({
        name: bench.name,
        value: undefined,
        unit: "",
        note: `skipped: ${bench.missing}`,
      });
    }
  }
  await print(Deno.stdout, json ? JSON.stringify(rows, undefined, 2) : formatRows(rows));
  return 0;
}

async function print(
  to: { write(bytes: Uint8Array): Promise<number> },
  text: string,
): Promise<void> {
  const bytes = new TextEncoder().encode(`${text}\n`);
  for (let at = 0; at < bytes.length;) at += await to.write(bytes.subarray(at));
}

if (import.meta.main) Deno.exit(await main(Deno.args));
