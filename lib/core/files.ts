/**
 * Files that survive a crash: written beside their place, synced, renamed. Everything Omerta writes
 * is for its user only (files 0600, folders 0700) unless the caller says otherwise.
 *
 * @module
 */

import { dirname, join } from "node:path";
import { messageOf, OmertaError } from "./errors.ts";

/** Creates a folder and its parents, readable by the user only. */
export async function makePrivateFolder(path: string): Promise<void> {
  await Deno.mkdir(path, { recursive: true, mode: 0o700 });
}

/** What is being written now, by path: settles when the last one that was asked for is done. */
const writing = new Map<string, Promise<void>>();

/**
 * Replaces a file as a whole: a reader sees the old content or the new, never a part. Of several in
 * this process the one that was asked for last stays, however long each takes.
 *
 * @throws {OmertaError} `disk-full`, `write-failed`, naming the file; nothing is left behind.
 */
export async function writeFileAtomic(
  path: string,
  content: string | Uint8Array,
  mode = 0o600,
): Promise<void> {
  const write = (): Promise<void> => replace(path, content, mode);
  const before = writing.get(path);
  const written = before === undefined ? write() : before.then(write, write);
  writing.set(path, written);
  try {
    await written;
  } finally {
    if (writing.get(path) === written) writing.delete(path);
  }
}

async function replace(path: string, content: string | Uint8Array, mode: number): Promise<void> {
  const temporary = join(dirname(path), `.${crypto.randomUUID()}.tmp`);
  try {
    await using stack = new AsyncDisposableStack();
    const file = await Deno.open(temporary, { write: true, createNew: true, mode });
    stack.defer(() => file.close());
    const bytes = typeof content === "string" ? new TextEncoder().encode(content) : content;
    for (let at = 0; at < bytes.length;) at += await file.write(bytes.subarray(at));
    await file.syncData();
  } catch (error) {
    await removeIfThere(temporary);
    throw writeFailed(path, error);
  }
  try {
    await Deno.rename(temporary, path);
  } catch (error) {
    await removeIfThere(temporary);
    throw writeFailed(path, error);
  }
}

function writeFailed(path: string, cause: unknown): OmertaError {
  const full = messageOf(cause).includes("os error 28");
  return new OmertaError(
    full ? "disk-full" : "write-failed",
    `Cannot write ${path}: ${full ? "no space left on the disk" : messageOf(cause)}`,
    { cause, ...(full ? { next: "Free some space and try again" } : {}) },
  );
}

/** The text of a file, or undefined when it does not exist. */
export async function readTextIfThere(path: string): Promise<string | undefined> {
  try {
    return await Deno.readTextFile(path);
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return undefined;
    throw error;
  }
}

/** Removes a file or a whole folder; no error when it is not there. */
export async function removeIfThere(path: string): Promise<void> {
  try {
    await Deno.remove(path, { recursive: true });
  } catch (error) {
    if (!(error instanceof Deno.errors.NotFound)) throw error;
  }
}

/** Whether something exists at `path`. */
export async function exists(path: string): Promise<boolean> {
  try {
    await Deno.lstat(path);
    return true;
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return false;
    throw error;
  }
}
