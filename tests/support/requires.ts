/**
 * Tests that need something of the host: run where it is there, skipped visibly, with the reason in
 * the name, where it is not.
 *
 * ```ts
 * testIf(rootMissing ?? commandMissing("tcpdump"), "TUN: ...", async () => { ... });
 * ```
 *
 * @module
 */

import { delimiter, join } from "node:path";

/** Why something that needs root cannot run here; undefined when it can. */
export const rootMissing: string | undefined = Deno.uid() === 0 ? undefined : "needs root";

/** Why something that needs these programs cannot run here; undefined when all are on PATH. */
export function commandMissing(...names: string[]): string | undefined {
  const missing = names.filter((name) => !onPath(name));
  return missing.length === 0 ? undefined : `needs ${missing.join(", ")}`;
}

function onPath(name: string): boolean {
  return (Deno.env.get("PATH") ?? "").split(delimiter).some((folder) => {
    try {
      const { isFile, mode } = Deno.statSync(join(folder, name));
      return isFile && ((mode ?? 0o111) & 0o111) !== 0;
    } catch {
      return false;
    }
  });
}

/**
 * A test that runs only when nothing is missing.
 *
 * @param missing Why it cannot run here; it then counts as ignored and says so.
 */
export function testIf(
  missing: string | undefined,
  name: string,
  fn: (t: Deno.TestContext) => void | Promise<void>,
): void {
  if (missing === undefined) Deno.test(name, fn);
  else Deno.test({ name: `${name} [skipped: ${missing}]`, ignore: true, fn });
}
