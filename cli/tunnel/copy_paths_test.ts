import assert from "node:assert/strict";
import { parseCopyPath, vmOf } from "./copy_paths.ts";

Deno.test("parseCopyPath() takes what is before a colon for a VM, unless a slash comes first", () => {
  const here = (path: string): unknown => ({ vm: undefined, user: undefined, path });
  assert.deepEqual(parseCopyPath("web:/tmp/a:b"), { vm: "web", user: undefined, path: "/tmp/a:b" });
  assert.deepEqual(parseCopyPath("root@web:"), { vm: "web", user: "root", path: "" });
  for (const path of ["a", "./a:b", "/a:b", "x/y@web:z", ""]) {
    assert.deepEqual(parseCopyPath(path), here(path));
  }
});

Deno.test("vmOf() wants one VM", () => {
  const of = (...paths: string[]): string => vmOf(paths.map(parseCopyPath));
  assert.equal(of("a", "web:b"), "web");
  assert.equal(of("web:a", "web:b", "c"), "web");
  assert.throws(() => of("a", "b"), { message: /no VM is named/, exit: 2 });
  assert.throws(() => of("web:a", "db:b"), { message: /more than one/ });
});
