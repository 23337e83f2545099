import assert from "node:assert/strict";
import { join } from "node:path";
import { Hono } from "hono";
import { pathsOf } from "../core/paths.ts";
import { serveApi } from "./server.ts";

/** A home whose path has so many bytes. */
async function homeOf(folder: string, bytes: number): Promise<string> {
  const home = join(folder, "h".repeat(bytes - folder.length - 1));
  await Deno.mkdir(home);
  return home;
}

Deno.test("G6: serveApi() refuses a home in which the pipe's or its own socket has no room", async () => {
  const folder = await Deno.makeTempDir({ dir: "/tmp" });
  try {
    for (const [bytes, name, length, most] of [[92, "pipe", 102, 101], [96, "omerta", 108, 107]]) {
      const { home, socket } = pathsOf(await homeOf(folder, Number(bytes)));
      await assert.rejects(serveApi(new Hono(), socket), {
        code: "path-too-long",
        exit: 2,
        message: `Cannot listen on ${home}/${name}.sock: ` +
          `the path has ${length} bytes, ${most} is the most`,
        next: "Set OMERTA_HOME to a folder with a shorter path",
      });
    }
    // Positive control.
    const { socket } = pathsOf(await homeOf(folder, 91));
    await using _api = await serveApi(new Hono(), socket);
    assert.ok((await Deno.lstat(socket)).isSocket);
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
});
