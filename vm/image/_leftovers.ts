/**
 * Ends what a build has started and does not end with it.
 *
 * @module
 */

import { setTimeout as pause } from "node:timers/promises";
import { signalIfThere } from "../../lib/core/process.ts";

/** Looks at the process table at the most; in the second half nothing is asked any more. */
const MAX_LOOKS = 20;
/** Time between two looks, in ms: for a process to end, or to be seen to make another. */
const PAUSE_MS = 100;

/**
 * Ends every process of this user that was started with `folder` for its temporary files.
 *
 * A signal to a process group does not reach all of a build: fakeroot's memory of who owns what is a
 * process in a session of its own, which only fakeroot ends, and not when it is ended by a signal.
 * All of them have inherited the folder's name, and nothing else has it.
 */
export async function endProcessesOf(folder: string): Promise<void> {
  for (let look = 0; look < MAX_LOOKS; look++) {
    let found = false;
    for await (const { name } of Deno.readDir("/proc")) {
      if (!/^\d+$/.test(name) || !await isOf(name, folder)) continue;
      found = true;
      // Asked first: what fakeroot has in the kernel goes only when it takes it away itself.
      signalIfThere(Number(name), look < MAX_LOOKS / 2 ? "SIGTERM" : "SIGKILL");
    }
    if (!found) return;
    await pause(PAUSE_MS);
  }
}

/** Whether a process has the folder in its environment; not if it has ended or is another user's. */
async function isOf(pid: string, folder: string): Promise<boolean> {
  try {
    const environment = await Deno.readTextFile(`/proc/${pid}/environ`);
    return environment.split("\0").includes(`TMPDIR=${folder}`);
  } catch {
    return false;
  }
}
