/**
 * What a benchmark is, and how its rows are printed.
 *
 * A row is one number with its unit. Where other programs do the same work in the same run, their
 * numbers are the row's references, and the ratio is what to look at: machines differ and are busy,
 * the ratio is steadier.
 *
 * @module
 */

import { median } from "./statistics.ts";

/** What another program reached. */
export interface Reference {
  /** The program. */
  readonly name: string;
  /** The number measured for it in this run. */
  readonly value: number;
}

/** One number. */
export interface Row {
  /** What was measured, e.g. `tunnel, 1 stream`. */
  readonly name: string;
  /** The number; undefined when it could not be measured, which `note` explains. */
  readonly value: number | undefined;
  /** Its unit, e.g. `Gbit/s`. */
  readonly unit: string;
  /** Who does the same. */
  readonly references?: readonly Reference[];
  /** What else is worth knowing, in a few words. */
  readonly note?: string;
  /** Smallest and largest value, when it was measured more than once. */
  readonly spread?: readonly [number, number];
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

/**
 * Runs of the same benchmark as one: of each number the median, and how far it was spread. Notes are
 * those of the first run.
 */
export function mergeRuns(runs: readonly (readonly Row[])[]): Row[] {
  const [first = []] = runs;
  if (runs.length < 2) return [...first];
  return first.map((row) => {
    const same = runs.flatMap((rows) => rows.filter(({ name }) => name === row.name));
    const values = same.flatMap(({ value }) => value === undefined ? [] : [value]);
    if (values.length === 0) return row;
    const references = row.references?.map(({ name }) => ({
      name,
      value: median(
        same.flatMap(({ references }) => references?.find((other) => other.name === name) ?? [])
          .map(({ value }) => value),
      ),
    }));
    return {
      ...row,
      value: median(values),
      spread: [Math.min(...values), Math.max(...values)],
      ...(references ? { references } : {}),
    };
  });
}

/** The rows as a Markdown table, which is for people and for documents. */
export function formatRows(rows: readonly Row[]): string {
  const others = [...new Set(rows.flatMap((row) => (row.references ?? []).map((r) => r.name)))];
  const hasSpread = rows.some(({ spread }) => spread !== undefined);
  const hasNote = rows.some(({ note }) => note !== undefined);
  const head = [
    "what",
    "measured",
    ...(hasSpread ? ["spread"] : []),
    ...others.flatMap((name) => [name, "ratio"]),
    ...(hasNote ? ["note"] : []),
  ];
  const body = rows.map((row) => [
    row.name,
    row.value === undefined ? "-" : `${formatNumber(row.value)} ${row.unit}`,
    ...(hasSpread ? [row.spread?.map(formatNumber).join(" to ") ?? ""] : []),
    ...others.flatMap((name) => {
      const value = row.references?.find((reference) => reference.name === name)?.value;
      if (value === undefined) return ["", ""];
      return [formatNumber(value), formatRatio(row.value, value)];
    }),
    ...(hasNote ? [row.note ?? ""] : []),
  ]);
  const isNumber = head.map((name) => name !== "what" && name !== "note");
  const widths = head.map((name, i) =>
    Math.max(name.length, ...body.map((cells) => (cells[i] ?? "").length))
  );
  const line = (cells: readonly string[]): string => {
    const padded = cells.map((cell, i) =>
      isNumber[i] ? cell.padStart(widths[i] ?? 0) : cell.padEnd(widths[i] ?? 0)
    );
    return `| ${padded.join(" | ")} |`;
  };
  const rule = widths.map((width, i) =>
    isNumber[i] ? `${"-".repeat(width - 1)}:` : "-".repeat(width)
  );
  return [line(head), `| ${rule.join(" | ")} |`, ...body.map(line)].join("\n");
}

function formatRatio(value: number | undefined, reference: number): string {
  return value === undefined || !(reference > 0) ? "" : (value / reference).toFixed(2);
}

function formatNumber(value: number): string {
  if (!Number.isFinite(value)) return "none";
  if (value >= 1000) return Math.round(value).toLocaleString("en-US");
  if (Number.isInteger(value)) return String(value);
  return value.toFixed(value >= 10 ? 1 : 2);
}
