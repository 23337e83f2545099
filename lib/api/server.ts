/**
 * Serves the API on the daemon's unix socket, which only its user can open.
 *
 * @module
 */

import { dirname } from "node:path";
import type { Hono } from "hono";
import { EXIT, OmertaError } from "../core/errors.ts";
import { removeIfThere } from "../core/files.ts";
import { pathsOf } from "../core/paths.ts";
import { MAX_PIPE_PATH } from "../node/proxies.ts";

/** Longest path of a unix socket, in bytes (unix(7): 108 with the closing zero). */
const MAX_SOCKET_PATH = 107;

/**
 * Begins to serve `app`. A socket that a killed daemon left behind is replaced: the caller holds the
 * lock of the home, so nobody listens on it.
 *
 * The pipe's socket is opened when something is borrowed or forwarded. That there is room for its path
 * in this home is looked at here, so that it does not fail then.
 *
 * @returns What ends it; requests that are being answered are finished first.
 * @throws {OmertaError} `path-too-long`.
 */
export async function serveApi(app: Hono, path: string): Promise<AsyncDisposable> {
  checkLength(path, MAX_SOCKET_PATH);
  checkLength(pathsOf(dirname(path)).pipe, MAX_PIPE_PATH);
  await removeIfThere(path);
  // The mode is set by the process's mask while the socket is bound: there is no moment at which
  // others could connect.
  const mask = Deno.umask(0o177);
  let server: Deno.HttpServer;
  try {
    server = Deno.serve({ path, onListen: () => {} }, app.fetch);
  } finally {
    Deno.umask(mask);
  }
  return {
    [Symbol.asyncDispose]: async (): Promise<void> => {
      await server.shutdown();
      await removeIfThere(path);
    },
  };
}

function checkLength(path: string, most: number): void {
  const bytes = new TextEncoder().encode(path).length;
  if (bytes <= most) return;
  throw new OmertaError(
    "path-too-long",
    `Cannot listen on ${path}: the path has ${bytes} bytes, ${most} is the most`,
    { exit: EXIT.usage, next: "Set OMERTA_HOME to a folder with a shorter path" },
  );
}
