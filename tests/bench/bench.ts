/**
 * What a benchmark is, and how its rows are printed.
 *
 * A row is one number with its unit. Where another program does the same work in the same run, that
 * program's number is the row's reference, and the ratio is what to look at: machines differ and are
 * busy, the ratio is steadier.
 *
 * @module
 */

import Table from "cli-table3";

/** One number. */
export interface Row {
  /** What was measured, e.g. `tunnel, 1 stream`. */
  readonly name: string;
  /** The number; undefined when it could not be measured, which `note` explains. */
  readonly value: number | undefined;
  /** Its unit, e.g. `Gbit/s`. */
  readonly unit: string;
  /** Who does the same, and the number measured for it in this run. */
  readonly reference?: { readonly name: string; readonly value: number };
  /** What else is worth knowing, in a few words. */
  readonly note?: string;
}

/** One benchmark; each takes some seconds. */
export interface Bench {
  /** What to call it on the command line. */
  readonly name: string;
  /** Why it cannot run here; undefined when it can. */
  readonly missing: string | undefined;
  /** Measures. */
  run(): Promise<readonly Row[]>;
}

/** The rows as a table for people. */
export function formatRows(rows: readonly Row[]): string {
  const table = new Table({
    head: ["what", "value", "unit", "reference", "ratio", "note"],
    style: { head: [], border: [] },
    colAligns: ["left", "right", "left", "right", "right", "left"],
  });
  for (const { name, value, unit, reference, note } of rows) {
    table.push([
      name,
      value === undefined ? "-" : formatNumber(value),
      unit,
      reference ? `${formatNumber(reference.value)} ${reference.name}` : "",
      reference && value !== undefined ? ratioOf(value, reference.value) : "",
      note ?? "",
    ]);
  }
  return table.toString();
}

function ratioOf(value: number, reference: number): string {
  return reference > 0 ? `${(value / reference).toFixed(2)}x` : "";
}

function formatNumber(value: number): string {
  if (value >= 1000) return Math.round(value).toLocaleString("en-US");
  return value.toFixed(value >= 10 ? 1 : 2);
}
