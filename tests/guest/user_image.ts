/**
 * Images that an ordinary user builds, and what must be in them whoever has built them.
 *
 * @module
 */

import assert from "node:assert/strict";
import { join } from "node:path";
import { pathsOf } from "../../lib/core/paths.ts";
import { run, runChecked } from "../../lib/core/process.ts";
import type { BaseImage } from "../../vm/image/image.ts";
import { ImageStore } from "../../vm/image/store.ts";
import { omertaCommand } from "../support/home.ts";
import type { OrdinaryUser } from "../support/ordinary_user.ts";
import { commandMissing, rootMissing } from "../support/requires.ts";
import { guestMissing } from "./guest_image.ts";

/** Why no user can build one here; undefined when one can. */
export const userImageMissing: string | undefined = rootMissing ?? guestMissing ??
  commandMissing("setpriv", "unshare", "fakechroot", "fakeroot", "newuidmap", "debugfs");
/** Time for a build, in ms. */
const BUILD_MS = 400_000;

/** Has a user build an image; `outer` comes before what makes a command theirs. */
export async function buildAs(
  user: OrdinaryUser,
  outer: readonly string[],
): Promise<{ image: BaseImage; said: string }> {
  const home = join(user.folder, "home");
  const [program = "", ...args] = [...outer, ...user.prefix, ...omertaCommand("image", "build")];
  const built = await run(program, args, { env: { OMERTA_HOME: home }, timeoutMs: BUILD_MS });
  assert.equal(built.code, 0, built.stderr + built.stdout);
  const folders = await Array.fromAsync(Deno.readDir(pathsOf(home).images));
  // Neither a draft of the image nor a tree is left.
  assert.equal(folders.filter(({ isDirectory }) => isDirectory).length, 1);
  const store = await ImageStore.open(pathsOf(home).images);
  return { image: await store.default(), said: built.stdout };
}

/** What an image must say of itself, whoever has built it. */
export async function checkOwners(image: BaseImage, folder: string): Promise<void> {
  const raw = join(folder, "disk.raw");
  await runChecked("qemu-img", ["convert", "-O", "raw", image.disk, raw]);
  const { stdout } = await runChecked("debugfs", ["-f", "-", raw], {
    input: "stat /usr/bin/sudo\nea_list /usr/bin/ping\nstat /etc/shadow\n",
  });
  await Deno.remove(raw);
  const [, sudo = "", ping = "", shadow = ""] = stdout.split(/^debugfs: .*$/m);
  assert.match(sudo, /Type: regular +Mode: +04755\b[^]*User: +0 +Group: +0 /);
  assert.match(ping, /security\.capability \(20\)/);
  assert.match(shadow, /Type: regular +Mode: +0640\b[^]*User: +0 +Group: +42 /);
}
