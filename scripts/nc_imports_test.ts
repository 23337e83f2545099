import assert from "node:assert/strict";
import { join } from "node:path";
import { importsOf } from "./_import_graph.ts";
import { sourceFiles } from "./_source_files.ts";

const ROOT = join(import.meta.dirname ?? ".", "..");

Deno.test("L6: nc, which each ssh session begins with, loads no package but the command line's", async () => {
  const imports = await importsOf(ROOT, await sourceFiles(ROOT));
  const packagesOf = (command: string): string[] => {
    const reached = new Set(["cli/program.ts", command]);
    for (const file of reached) {
      for (const { from, to, typeOnly } of imports) {
        // What the program loads only when it is asked for.
        const isLate = from === "cli/program.ts" && to.startsWith("cli/commands/");
        if (from === file && !typeOnly && !isLate) reached.add(to);
      }
    }
    return Array.from(reached).filter((name) => name.startsWith("npm:"));
  };
  const own = packagesOf("cli/commands/nc.ts");
  assert.equal(own.length, 1);
  assert.match(own[0] ?? "", /commander/);
  assert.ok(packagesOf("cli/commands/ssh.ts").length > 1);
});
