/**
 * Tables, apart from the rest of the output because not every command has one to load this for.
 *
 * @module
 */

import Table from "cli-table3";
import { paint, print } from "./output.ts";

/** Prints rows below a head, columns aligned; `empty` when there are none. */
export function printTable(
  head: readonly string[],
  rows: readonly (readonly string[])[],
  empty: string,
): void {
  if (rows.length === 0) {
    print(empty);
    return;
  }
  const border = Object.fromEntries(
    [
      ...["top", "top-mid", "top-left", "top-right", "bottom", "bottom-mid", "bottom-left"],
      ...["bottom-right", "left", "left-mid", "mid", "mid-mid", "right", "right-mid"],
    ].map((part) => [part, ""]),
  );
  const table = new Table({
    chars: { ...border, middle: "  " },
    style: { "padding-left": 0, "padding-right": 0, head: [], border: [] },
  });
  table.push(head.map((word) => paint("bold", word.toUpperCase())), ...rows.map((row) => [...row]));
  print(table.toString().replace(/ +$/gm, ""));
}
