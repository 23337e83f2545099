import assert from "node:assert/strict";
import { endProcessesOf } from "./_leftovers.ts";

const ignore = Deno.build.os !== "linux";

Deno.test({
  name: "endProcessesOf() ends a session of its own by its folder, and nothing else",
  ignore,
  async fn(): Promise<void> {
    const start = (folder: string): Deno.ChildProcess =>
      new Deno.Command("sleep", { args: ["60"], env: { TMPDIR: folder }, detached: true }).spawn();
    const [ours, other] = [start("/var/tmp/omerta-ours"), start("/var/tmp/omerta-ours-not")];
    await endProcessesOf("/var/tmp/omerta-ours");
    assert.equal((await ours.status).signal, "SIGTERM");
    // It runs: a signal finds it.
    other.kill("SIGKILL");
    assert.equal((await other.status).signal, "SIGKILL");
  },
});
