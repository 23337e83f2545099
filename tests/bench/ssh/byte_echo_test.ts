import assert from "node:assert/strict";
import { ByteEcho } from "./byte_echo.ts";

/** `cat` or the like, as a program that echoes. */
function start(program: string, ...args: string[]): ByteEcho {
  const pipes = { stdin: "piped", stdout: "piped" } as const;
  return new ByteEcho(new Deno.Command(program, { args, ...pipes }).spawn());
}

Deno.test("B7: roundTrip() gets each byte back, more than 256 of them", async () => {
  await using echo = start("cat");
  for (let i = 0; i < 300; i++) assert.ok(await echo.roundTrip() > 0);
});

Deno.test("B7: roundTrip() refuses another byte, and the end", async () => {
  await using other = start("sh", "-c", "printf x; exec cat >/dev/null");
  await assert.rejects(other.roundTrip(), /want the byte 1 back/);
  await using end = start("true");
  await assert.rejects(end.roundTrip());
});
