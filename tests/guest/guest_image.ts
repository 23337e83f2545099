/**
 * The guest image that the tests share: built once into a home that outlives them.
 *
 * @module
 */

import { join } from "node:path";
import { pathsOf } from "../../lib/core/paths.ts";
import type { BaseImage } from "../../vm/image/image.ts";
import { buildImage } from "../../vm/image/build.ts";
import { ImageStore } from "../../vm/image/store.ts";
import { commandMissing } from "../support/requires.ts";

/** Why no guest can be run here; undefined when one can. */
export const guestMissing: string | undefined = commandMissing(
  `qemu-system-${Deno.build.arch}`,
  "qemu-img",
  "mmdebstrap",
);

/** `$OMERTA_TEST_HOME`, by default a folder below `tests/` that git ignores. */
export function testHome(): string {
  return Deno.env.get("OMERTA_TEST_HOME") ?? join(import.meta.dirname ?? ".", "..", "tmp", "home");
}

/** The image; built on the first call, which takes about a minute. */
export async function guestImage(): Promise<BaseImage> {
  return await buildImage({ store: await ImageStore.open(pathsOf(testHome()).images) });
}
