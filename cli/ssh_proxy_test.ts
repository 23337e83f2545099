import assert from "node:assert/strict";
import { run } from "../lib/core/process.ts";
import { copyingProxy, sshProxy, stackProxy } from "./ssh_proxy.ts";

for (const proxyOf of [stackProxy, copyingProxy]) {
  Deno.test(`${proxyOf.name}() survives ssh and a shell, whatever the home is called`, async () => {
    for (const home of ["/home/me/.omerta", "/tmp/a b/it's 100%h $HOME"]) {
      const { command, handsOver } = proxyOf(home);
      // What ssh does with it before the shell gets it.
      const replaced = command.replace(
        /%[%hp]/g,
        (word) => ({ "%%": "%", "%h": "10.0.0.2", "%p": "22" })[word] ?? assert.fail(),
      );
      const { stdout } = await run("sh", ["-c", `printf '%s\\n' ${replaced}`]);
      const words = stdout.trimEnd().split("\n");
      assert.deepEqual(words.slice(0, 2), ["env", `OMERTA_HOME=${home}`]);
      const option = handsOver ? ["--hand-over"] : [];
      assert.deepEqual(words.slice(words.indexOf("nc")), ["nc", ...option, "10.0.0.2", "22"]);
    }
  });
}

Deno.test("copyingProxy() hands nothing over: a ProxyCommand of the user's may stand in its place", () => {
  assert.equal(copyingProxy("/home").handsOver, false);
});

Deno.test("sshProxy() is needed only where there is no interface", async () => {
  const of = async (tunnelEnd: unknown): Promise<boolean> => {
    const status = (): Promise<never> => Promise.resolve({ tunnelEnd } as never);
    return await sshProxy({ status }, { home: "/home" }) !== undefined;
  };
  assert.equal(await of({ kind: "userspace", why: "" }), true);
  assert.equal(await of({ kind: "device", name: "omerta0" }), false);
  assert.equal(await of({ kind: "none" }), false);
});
