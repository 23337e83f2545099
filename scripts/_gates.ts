/**
 * What must hold before any test is worth running: format, lint, types, documentation, layers.
 *
 * @module
 */

/** One check: a `deno` command line. */
export interface Gate {
  /** What it checks, for the output. */
  readonly name: string;
  /** Arguments for `deno`. */
  readonly args: readonly string[];
}

/** The gates, in order. */
export const GATES: readonly Gate[] = [
  { name: "format", args: ["fmt", "--check"] },
  { name: "lint", args: ["lint"] },
  { name: "types", args: ["check"] },
  { name: "documentation", args: ["run", "--allow-all", "scripts/check_docs.ts"] },
  { name: "layers", args: ["run", "--allow-all", "scripts/check_layers.ts"] },
];
