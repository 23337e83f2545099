/**
 * A host on which something is not installed.
 *
 * @module
 */

import { join } from "node:path";
import { runChecked } from "../../lib/core/process.ts";

/** A folder of links to these programs and to no others, to be the whole PATH. */
export async function binWith(
  ...names: readonly string[]
): Promise<{ readonly path: string } & AsyncDisposable> {
  const path = await Deno.makeTempDir({ prefix: "omerta-bin-" });
  for (const name of names) {
    const { stdout } = await runChecked("which", [name]);
    await Deno.symlink(stdout.trim(), join(path, name));
  }
  return { path, [Symbol.asyncDispose]: () => Deno.remove(path, { recursive: true }) };
}
