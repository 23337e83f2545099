/**
 * Every import in a set of files, as Deno itself resolves them.
 *
 * @module
 */

import { join, relative } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";
import { z } from "zod";
import { runChecked } from "../lib/core/process.ts";

/** One import, export-from or dynamic import. */
export interface Import {
  /** The file it is in, relative to the root. */
  readonly from: string;
  /** The file it names, relative to the root, or `npm:...`, `node:...`. */
  readonly to: string;
  /** Line it is on, from 1. */
  readonly line: number;
  /** Whether it takes types only and so leaves nothing in the program. */
  readonly typeOnly: boolean;
}

const Resolved = z.object({
  specifier: z.string().optional(),
  span: z.object({ start: z.object({ line: z.number() }) }),
});

/** The parts of `deno info --json` that are used. */
const Graph = z.object({
  modules: z.array(z.object({
    specifier: z.string(),
    dependencies: z.array(z.object({
      specifier: z.string(),
      code: Resolved.optional(),
      type: Resolved.optional(),
    })).default([]),
  })),
});

/**
 * The imports in `files`, which are relative to `root`. The configuration of `root` is used when it
 * has one.
 */
export async function importsOf(root: string, files: readonly string[]): Promise<Import[]> {
  const entry = await Deno.makeTempFile({ prefix: "omerta-imports-", suffix: ".ts" });
  try {
    const all = files.map((file) => `import ${JSON.stringify(urlOf(root, file))};\n`).join("");
    await Deno.writeTextFile(entry, all);
    const config = join(root, "deno.json");
    const { stdout } = await runChecked(
      Deno.execPath(),
      [
        "info",
        "--json",
        ...(files.includes("mod.ts") ? ["--config", config] : ["--no-config"]),
        entry,
      ],
    );
    return edgesOf(root, new Set(files), Graph.parse(JSON.parse(stdout)));
  } finally {
    await Deno.remove(entry);
  }
}

function edgesOf(
  root: string,
  files: ReadonlySet<string>,
  graph: z.infer<typeof Graph>,
): Import[] {
  const imports: Import[] = [];
  for (const { specifier, dependencies } of graph.modules) {
    const from = nameOf(root, specifier);
    if (!files.has(from)) continue;
    for (const { specifier: written, code, type } of dependencies) {
      const resolved = code ?? type;
      imports.push({
        from,
        to: nameOf(root, resolved?.specifier ?? written),
        line: (resolved?.span.start.line ?? 0) + 1,
        typeOnly: code === undefined,
      });
    }
  }
  return imports;
}

function urlOf(root: string, file: string): string {
  return pathToFileURL(join(root, file)).href;
}

function nameOf(root: string, specifier: string): string {
  return specifier.startsWith("file:") ? relative(root, fileURLToPath(specifier)) : specifier;
}
