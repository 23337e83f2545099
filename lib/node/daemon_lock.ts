/**
 * One daemon for each home: a lock that the kernel takes back when the process dies, however it dies.
 *
 * The file says who holds it; it is never removed, because removing a locked file lets a second
 * process lock a new one of the same name.
 *
 * @module
 */

import { z } from "zod";
import { EXIT, OmertaError } from "../core/errors.ts";
import { makePrivateFolder, readTextIfThere } from "../core/files.ts";
import type { Paths } from "../core/paths.ts";

const HolderSchema = z.object({ pid: z.int().positive() });

/** The lock of a home; the daemon holds it as long as it runs. */
export class DaemonLock implements Disposable {
  readonly #file: Deno.FsFile;

  private constructor(file: Deno.FsFile) {
    this.#file = file;
  }

  /**
   * Takes the lock.
   *
   * @throws {OmertaError} `daemon-running`, with the process id of the one that has it.
   */
  static async take(paths: Paths): Promise<DaemonLock> {
    await makePrivateFolder(paths.home);
    const file = await Deno.open(paths.daemon, {
      read: true,
      write: true,
      create: true,
      mode: 0o600,
    });
    if (!await file.tryLock(true)) {
      file.close();
      const pid = await daemonPid(paths);
      throw new OmertaError(
        "daemon-running",
        `Cannot start a daemon for ${paths.home}: one is running${pid ? ` (process ${pid})` : ""}`,
        {
          exit: EXIT.usage,
          next: "See 'omerta daemon status', or end it with 'omerta daemon stop'; " +
            "OMERTA_HOME names another home",
        },
      );
    }
    await file.truncate();
    await file.write(new TextEncoder().encode(JSON.stringify({ pid: Deno.pid }) + "\n"));
    await file.sync();
    return new DaemonLock(file);
  }

  /** Gives the lock back. */
  [Symbol.dispose](): void {
    this.#file.close();
  }
}

/** Process id of the daemon of this home, or undefined when none runs. */
export async function daemonPid(paths: Paths): Promise<number | undefined> {
  let file: Deno.FsFile;
  try {
    file = await Deno.open(paths.daemon, { read: true, write: true });
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return undefined;
    throw error;
  }
  using _closing = file;
  if (await file.tryLock(true)) return undefined; // nobody holds it
  const text = await readTextIfThere(paths.daemon) ?? "";
  try {
    return HolderSchema.safeParse(JSON.parse(text)).data?.pid;
  } catch {
    return undefined; // it is just being written
  }
}
