/**
 * A user without any right beyond that of their files, while the tests are root: uid 65534, with a
 * folder of their own. Needs root and setpriv.
 *
 * @module
 */

import { basename, join } from "node:path";
import { runChecked } from "../../lib/core/process.ts";

/** User and group. */
export const NOBODY = 65534;

/** Such a user. */
export interface OrdinaryUser extends AsyncDisposable {
  /** Their folder and `$HOME`; the one place where they can write. */
  readonly folder: string;
  /** What a command begins with to be theirs. */
  readonly prefix: readonly string[];
  /** Copies a file or folder into theirs, as theirs; returns where it is. @param into Where, in theirs. */
  readonly give: (path: string, into?: string) => Promise<string>;
}

/** Makes one. @param flags Of setpriv(1), for a user who has even less. */
export async function ordinaryUser(...flags: string[]): Promise<OrdinaryUser> {
  const folder = await Deno.makeTempDir({ prefix: "omerta-" });
  const own = (): Promise<unknown> =>
    runChecked("chown", ["-R", `${NOBODY}:${NOBODY}`, folder], { timeoutMs: 60_000 });
  const give = async (path: string, into = folder): Promise<string> => {
    await runChecked("cp", ["-r", path, into], { timeoutMs: 60_000 });
    await own();
    return join(into, basename(path));
  };
  // Packages are in the tester's own home, which others do not get into.
  const info = await runChecked(Deno.execPath(), ["info", "--json"], { timeoutMs: 30_000 });
  const { denoDir }: { denoDir: string } = JSON.parse(info.stdout);
  const cache = join(folder, "deno");
  await Deno.mkdir(cache);
  await give(join(denoDir, "npm"), cache);
  return {
    folder,
    prefix: [
      ...["setpriv", `--reuid=${NOBODY}`, `--regid=${NOBODY}`, "--clear-groups", ...flags],
      ...["env", `HOME=${folder}`, `DENO_DIR=${cache}`],
    ],
    give,
    [Symbol.asyncDispose]: () => Deno.remove(folder, { recursive: true }),
  };
}
