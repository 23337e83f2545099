/**
 * An image that an ordinary user builds with nothing but their own rights: what is in it is root's all
 * the same. image_range_test.ts has the other way; everything else here uses one that root has built.
 *
 * @module
 */

import assert from "node:assert/strict";
import { join } from "node:path";
import { parse, stringify } from "yaml";
import { run } from "../../lib/core/process.ts";
import { renderSeed } from "../../vm/seed/cloud_init.ts";
import { binWith } from "../support/bin.ts";
import { omertaCommand } from "../support/home.ts";
import { ordinaryUser } from "../support/ordinary_user.ts";
import { testIf } from "../support/requires.ts";
import { deadCable, DONE, lent, seedOf } from "./lent_seed.ts";
import { bootPlain } from "./plain_guest.ts";
import { buildAs, checkOwners, userImageMissing as missing } from "./user_image.ts";

const BOOT_MS = 240_000;
/** Time for what comes right after that, in ms. */
const SOON_MS = 60_000;

testIf(
  missing,
  "V5: without a range of ids an image is built by fakechroot, and boots",
  async () => {
    await using user = await ordinaryUser();
    const { image, said } = await buildAs(user, []);
    assert.match(said, /^ {2}looking for the package mirror, to build in mode fakechroot$/m);
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
    await guest.waitFor(DONE, SOON_MS);
    await guest.waitFor(/web-5 login:/, SOON_MS);
    const text = guest.text();
    assert.ok(!text.includes("OMERTA-FAULT"), text.slice(-2000));
    const [, saidByGuest = ""] = /REPORT-BEGIN([^]*)REPORT-END/.exec(text) ?? [];
    assert.match(saidByGuest, /^0\r?$/m);
    assert.match(saidByGuest, /^0 loaded units listed/m);
  },
);

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
