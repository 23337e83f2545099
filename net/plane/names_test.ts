import assert from "node:assert/strict";
import { Names } from "./names.ts";

Deno.test("find() knows names and literals, and says what it cannot do to others", () => {
  const names = new Names();
  names.set([["web", "10.0.0.2"], ["web.omerta", "10.0.0.2"]]);
  for (const host of ["web", "web.omerta", "10.0.0.2"]) {
    assert.equal(names.find(host, "ping"), 0x0a000002);
  }
  assert.throws(() => names.find("db", "ping"), {
    code: "unknown-host",
    message: "Cannot ping 'db': nothing has that name",
  });
  names.set([["db", "10.0.0.3"]]);
  assert.equal(names.resolve("db"), 0x0a000003);
  assert.equal(names.resolve("web"), undefined);
  assert.throws(() => names.set([["bad", "10.0.0"]]), { code: "bad-address" });
});

Deno.test("G6: resolve() knows a name in whatever case it is asked for", () => {
  const names = new Names();
  names.set([["web", "10.0.0.2"], ["web.omerta", "10.0.0.2"]]);
  for (const host of ["Web", "WEB", "web.Omerta"]) assert.equal(names.resolve(host), 0x0a000002);
  assert.equal(names.find("Web.OMERTA", "ping"), 0x0a000002);
  assert.equal(names.resolve("Webb"), undefined);
});
