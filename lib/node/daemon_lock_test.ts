import assert from "node:assert/strict";
import { join } from "node:path";
import { pathsOf } from "../core/paths.ts";
import { DaemonLock, daemonPid } from "./daemon_lock.ts";

Deno.test("DaemonLock lets one process in and names it", async () => {
  const folder = await Deno.makeTempDir();
  try {
    const paths = pathsOf(join(folder, "home"));
    assert.equal(await daemonPid(paths), undefined);
    {
      using _lock = await DaemonLock.take(paths);
      assert.equal(await daemonPid(paths), Deno.pid);
      await assert.rejects(DaemonLock.take(paths), {
        code: "daemon-running",
        message: new RegExp(`process ${Deno.pid}`),
      });
    }
    assert.equal(await daemonPid(paths), undefined);
    using _again = await DaemonLock.take(paths);
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
});
