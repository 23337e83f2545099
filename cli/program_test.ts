import assert from "node:assert/strict";
import { pathsOf } from "../lib/core/paths.ts";
import { COMMANDS, main } from "./program.ts";

// Not in the test: what they import keeps the C library open.
const makers = await Promise.all(Object.values(COMMANDS).map((load) => load()));

Deno.test("each command is found by the name that it has", () => {
  const context = { paths: pathsOf("/nowhere"), module: new URL(import.meta.url) };
  assert.deepEqual(makers.map((make) => make(context).name()), Object.keys(COMMANDS));
});

const MODULE = new URL(import.meta.url);

Deno.test("L10: omerta ssh shows our help only when it is asked for first", async () => {
  for (const help of ["-h", "--help"]) {
    assert.equal(await main(["ssh", help], MODULE), 0);
    for (const before of [["-t"], ["-o", "A=b"], ["-t", "--"]]) {
      assert.equal(await main(["ssh", ...before, help], MODULE), 2);
    }
  }
  assert.equal(await main(["ssh"], MODULE), 2);
});

Deno.test("a home that ssh would read as another one is refused", async () => {
  const home = Deno.env.get("OMERTA_HOME");
  try {
    for (const path of ["/tmp/${HOME}", "/tmp/a\nb"]) {
      Deno.env.set("OMERTA_HOME", path);
      assert.equal(await main(["status"], MODULE), 2); // without the check 4: no daemon
      assert.equal(await main(["status", "--help"], MODULE), 0);
    }
  } finally {
    if (home === undefined) Deno.env.delete("OMERTA_HOME");
    else Deno.env.set("OMERTA_HOME", home);
  }
});
