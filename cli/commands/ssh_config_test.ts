import assert from "node:assert/strict";
import { join } from "node:path";
import { pathsOf } from "../../lib/core/paths.ts";
import { runChecked } from "../../lib/core/process.ts";
import { commandMissing, testIf } from "../../tests/support/requires.ts";
import { hostBlock } from "./ssh_config.ts";

const VM = { id: "0123456789abcdef", name: "web", address: "10.0.0.2" };

for (const home of ["/home/me/.omerta", "/tmp/100%h \"a\" 'b' c\\d\\\\ #$HOME"]) {
  testIf(commandMissing("ssh"), `L10: ssh reads what ssh-config prints of ${home}`, async () => {
    const folder = await Deno.makeTempDir();
    try {
      const file = join(folder, "config");
      const paths = pathsOf(home);
      await Deno.writeTextFile(file, hostBlock(VM, { paths }));
      const { stdout } = await runChecked("ssh", ["-G", "-F", file, "web.omerta"]);
      const settings = stdout.split("\n");
      for (
        const setting of [
          ...["hostname 10.0.0.2", "user omerta", `hostkeyalias ${VM.id}`, "identitiesonly yes"],
          `userknownhostsfile ${paths.knownHosts}`,
          // This one it replaces only when it connects.
          `identityfile ${paths.sshKey.replaceAll("%", "%%")}`,
        ]
      ) assert.ok(settings.includes(setting), `${setting}: ${stdout}`);
      assert.match(stdout, /^proxycommand 'env' 'OMERTA_HOME=.* 'nc' %h %p$/m);
    } finally {
      await Deno.remove(folder, { recursive: true });
    }
  });
}
