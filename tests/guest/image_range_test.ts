/**
 * An image that an ordinary user builds who has a range of ids: what is in it is root's all the same.
 *
 * @module
 */

import assert from "node:assert/strict";
import { join } from "node:path";
import { ordinaryUser } from "../support/ordinary_user.ts";
import { testIf } from "../support/requires.ts";
import { buildAs, checkOwners, userImageMissing as missing } from "./user_image.ts";

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
