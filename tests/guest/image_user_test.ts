/**
 * Images that an ordinary user builds, in each of the two modes: what is in them is root's all the
 * same. image_test.ts and everything else here use one that root has built.
 *
 * @module
 */

import assert from "node:assert/strict";
import { join } from "node:path";
import { parse, stringify } from "yaml";
import { pathsOf } from "../../lib/core/paths.ts";
import { run, runChecked } from "../../lib/core/process.ts";
import type { BaseImage } from "../../vm/image/image.ts";
import { ImageStore } from "../../vm/image/store.ts";
import { renderSeed } from "../../vm/seed/cloud_init.ts";
import { binWith } from "../support/bin.ts";
import { omertaCommand } from "../support/home.ts";
import { type OrdinaryUser, ordinaryUser } from "../support/ordinary_user.ts";
import { commandMissing, rootMissing, testIf } from "../support/requires.ts";
import { guestMissing } from "./guest_image.ts";
import { deadCable, DONE, lent, seedOf } from "./lent_seed.ts";
import { bootPlain } from "./plain_guest.ts";

const missing = rootMissing ?? guestMissing ??
  commandMissing("setpriv", "unshare", "fakechroot", "fakeroot", "newuidmap", "debugfs");
const BUILD_MS = 400_000;
const BOOT_MS = 240_000;

/** Has a user build an image; `outer` comes before what makes a command theirs. */
async function buildAs(
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
async function checkOwners(image: BaseImage, folder: string): Promise<void> {
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

testIf(
  missing,
  "V5: without a range of ids an image is built by fakechroot, and boots",
  async () => {
    await using user = await ordinaryUser();
    const { image, said } = await buildAs(user, []);
    assert.match(said, /to build in mode fakechroot$/m);
    await checkOwners(image, user.folder);

    const seed = renderSeed(lent("web-5"));
    const data = parse(seed.userData, { version: "1.1" });
    const questions = "find /usr /boot -xdev ! -uid 0 | wc -l; systemctl --failed --plain";
    const report = `(echo; echo REPORT-BEGIN; ${questions}; echo REPORT-END) >/dev/console 2>&1`;
    data.runcmd.push(["sh", "-c", report]);
    const userData = `#cloud-config\n${stringify(data, { version: "1.1" })}`;
    await using guest = await bootPlain({
      image,
      network: deadCable(user.folder),
      seed: seedOf({ ...seed, userData }),
    });
    await guest.waitFor(/REPORT-END/, BOOT_MS);
    await guest.waitFor(DONE, BOOT_MS);
    await guest.waitFor(/web-5 login:/, BOOT_MS);
    const text = guest.text();
    assert.ok(!text.includes("OMERTA-FAULT"), text.slice(-2000));
    const [, saidByGuest = ""] = /REPORT-BEGIN([^]*)REPORT-END/.exec(text) ?? [];
    assert.match(saidByGuest, /^0\r?$/m);
    assert.match(saidByGuest, /^0 loaded units listed/m);
  },
);

testIf(missing, "V5: with a range of ids an image is built in a user namespace", async () => {
  await using user = await ordinaryUser();
  // Two files of this host, as they are in a mount namespace of the test's own.
  const range = join(user.folder, "range");
  await Deno.writeTextFile(range, "nobody:100000:65536\n");
  const [uids, gids] = ["uid", "gid"].map((kind) => `mount --bind ${range} /etc/sub${kind}`);
  const outer = ["unshare", "--mount", "sh", "-c", `${uids} && ${gids} && exec "$@"`, "sh"];
  const { image, said } = await buildAs(user, outer);
  assert.match(said, /to build in mode unshare$/m);
  await checkOwners(image, user.folder);
});

testIf(missing, "V5: where no mode works, it says what was tried and what to install", async () => {
  await using user = await ordinaryUser();
  await using bin = await binWith("setpriv", "env", "mmdebstrap");
  await Deno.chmod(bin.path, 0o755);
  const [program = "", ...args] = [...user.prefix, ...omertaCommand("image", "build")];
  const env = { OMERTA_HOME: join(user.folder, "home"), PATH: bin.path };
  const { code, stderr } = await run(program, args, { env });
  assert.equal(code, 3, stderr);
  assert.match(
    stderr,
    /Cannot build an image as an ordinary user: mode unshare: E: cannot find newuidmap/,
  );
  assert.match(stderr, /; mode fakechroot: Cannot run fakechroot: it is not installed/);
  assert.match(stderr, /^Next: Run as root: apt install uidmap fakechroot fakeroot/m);
});
