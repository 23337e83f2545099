/**
 * Guests that never come up, however fast the host is: for what happens when the time is over.
 *
 * @module
 */

import { join } from "node:path";
import { runChecked } from "../../lib/core/process.ts";

/** What a kernel is told so that it runs, and then waits for a keyboard for ever. */
export const IDLE = "rdinit=/bin/cat";

/** In place of QEMU. */
const QEMU = `#!/bin/sh
for word do
  shift
  case $word in root=*) word="$word ${IDLE}" ;; esac
  set -- "$@" "$word"
done
exec PROGRAM "$@"
`;
/** Limits that are tried, in s: an idle host needs the first, a busy one many times that. */
const LIMITS_S = [4, 15, 50] as const;

/** The PATH of a host whose guests are all idle, and the folder that makes it so. */
export async function idleGuests(): Promise<{ readonly PATH: string } & AsyncDisposable> {
  const folder = await Deno.makeTempDir({ prefix: "omerta-bin-" });
  const name = "qemu-system-x86_64";
  const { stdout } = await runChecked("which", [name]);
  await Deno.writeTextFile(join(folder, name), QEMU.replace("PROGRAM", stdout.trim()), {
    mode: 0o755,
  });
  return {
    PATH: `${folder}:${Deno.env.get("PATH") ?? ""}`,
    [Symbol.asyncDispose]: () => Deno.remove(folder, { recursive: true }),
  };
}

/**
 * Does something within a time that is too short for it, and again within a longer one as long as it
 * has not come far enough by then.
 *
 * @param far Whether it has come as far as is looked at.
 */
export async function outOfTime<T>(
  act: (limitS: number) => Promise<T>,
  far: (result: T) => boolean,
): Promise<T> {
  for (const limitS of LIMITS_S.slice(0, -1)) {
    const result = await act(limitS);
    if (far(result)) return result;
  }
  return await act(LIMITS_S.at(-1) ?? 0);
}
