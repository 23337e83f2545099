/**
 * One self-contained file without `deno compile`: a shell script, and behind it a compressed archive of
 * the Deno that is running now and the program bundled into one module.
 *
 * ```
 * +--------------------+---------------------------------------+
 * | scripts/launcher.sh | tar, gzip: deno, omerta.mjs          |
 * +--------------------+---------------------------------------+
 * 0                    ARCHIVE_AT - 1 (tail counts from 1)
 * ```
 *
 * @module
 */

import { createHash } from "node:crypto";
import { join } from "node:path";
import launcher from "./launcher.sh" with { type: "text" };
import { OmertaError } from "../lib/core/errors.ts";
import { run, runChecked } from "../lib/core/process.ts";

/** How long bundling may take, in ms; the first time the bundler itself is fetched. */
const BUNDLE_LIMIT_MS = 120_000;
/** How long packing may take, in ms. */
const PACK_LIMIT_MS = 120_000;

/**
 * Writes the file.
 *
 * @param root The checkout.
 * @param output Where to write it; replaced as a whole.
 * @param entry Main module of the program, relative to the checkout.
 */
export async function makeSelfExtracting(
  root: string,
  output: string,
  entry: string,
): Promise<void> {
  const folder = await Deno.makeTempDir({ prefix: "omerta-build-" });
  try {
    const program = join(folder, "omerta.mjs");
    const runtime = join(folder, "deno");
    await bundle(root, entry, program);
    await Deno.copyFile(Deno.execPath(), runtime);
    await Deno.chmod(runtime, 0o755);
    const archive = join(folder, "archive");
    await runChecked("tar", ["-czf", archive, "-C", folder, "deno", "omerta.mjs"], {
      timeoutMs: PACK_LIMIT_MS,
    });

    const text = withArchiveAt(
      launcher
        .replace("@RUNTIME_SHA256@", await sha256Of(runtime))
        .replace("@PROGRAM_SHA256@", await sha256Of(program)),
    );
    const unfinished = `${output}.new`;
    await Deno.writeTextFile(unfinished, text);
    {
      using file = await Deno.open(unfinished, { append: true });
      using source = await Deno.open(archive);
      for await (const chunk of source.readable) {
        for (let at = 0; at < chunk.length;) at += await file.write(chunk.subarray(at));
      }
    }
    await Deno.chmod(unfinished, 0o755);
    await Deno.rename(unfinished, output);
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
}

async function bundle(root: string, entry: string, output: string): Promise<void> {
  const args = ["bundle", "--quiet", "--platform=deno", `--output=${output}`, entry];
  const result = await run(Deno.execPath(), args, {
    cwd: root,
    timeoutMs: BUNDLE_LIMIT_MS,
    env: { NO_COLOR: "1" },
  });
  if (result.code !== 0) {
    throw new OmertaError("bundle-failed", `Cannot bundle ${entry}: ${result.stderr.trim()}`);
  }
}

/** Fills in where the archive begins, which depends on how many digits that number has. */
function withArchiveAt(text: string): string {
  const mark = "@ARCHIVE_AT@";
  const length = new TextEncoder().encode(text).length - mark.length;
  let at = length;
  while (at !== length + String(at).length + 1) at = length + String(at).length + 1;
  return text.replace(mark, String(at));
}

async function sha256Of(path: string): Promise<string> {
  const hash = createHash("sha256");
  using file = await Deno.open(path);
  for await (const chunk of file.readable) hash.update(chunk);
  return hash.digest("hex");
}
