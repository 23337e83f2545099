import assert from "node:assert/strict";
import { testIf } from "../../tests/support/requires.ts";
import { cString, ERRNO, errnoName, Fd, libc } from "./libc.ts";

const missing = libc() === undefined ? "needs FFI on Linux" : undefined;

testIf(missing, "libc() gives the number of the error of the last call", () => {
  const c = libc();
  assert.ok(c);
  assert.equal(c.call.open(cString("/nonexistent/file"), 0), -1);
  assert.equal(c.errno(), ERRNO.ENOENT);
  assert.equal(c.call.close(-1), -1);
  assert.equal(errnoName(c.errno()), "errno 9");
});

testIf(missing, "Fd closes its descriptor once", () => {
  const c = libc();
  assert.ok(c);
  const number = c.call.open(cString("/dev/null"), 0);
  const fd = new Fd(c, number);
  assert.equal(fd.number, number);
  fd[Symbol.dispose]();
  assert.equal(fd.number, -1);
  // Whoever gets the number next must not lose it to a second close.
  using other = new Fd(c, c.call.open(cString("/dev/null"), 0));
  fd[Symbol.dispose]();
  assert.equal(c.call.read(other.number, new Uint8Array(new ArrayBuffer(1)), 1n), 0);
});

Deno.test("errnoName() names what is told apart and numbers the rest", () => {
  assert.equal(errnoName(98), "EADDRINUSE");
  assert.equal(errnoName(71), "errno 71");
});
