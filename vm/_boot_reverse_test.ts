import assert from "node:assert/strict";
import { join } from "node:path";
import { generateSshKey } from "../lib/core/ssh_key.ts";
import { until } from "../tests/support/until.ts";
import { ReverseWay } from "./_boot_reverse.ts";
import type { Vm } from "./manager.ts";

const KEYS = { hostKey: generateSshKey("host"), userKey: generateSshKey("user") };

/** What QEMU is to {@link ReverseWay}: somebody who connects, once or again. */
async function withWay(
  test: (way: ReverseWay, connect: () => Promise<Deno.UnixConn>) => Promise<void>,
): Promise<void> {
  const folder = await Deno.makeTempDir();
  try {
    using way = new ReverseWay();
    const path = join(folder, "c.sock");
    way.listen(path);
    await test(way, () => Deno.connect({ transport: "unix", path }));
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
}

/** Tries until QEMU's connection was taken, and returns how the try ended. */
async function outcome(way: ReverseWay, signal: AbortSignal): Promise<string> {
  return await until(async () => {
    const error: Error = await way.trySsh({} as Vm, KEYS, signal).then(
      () => assert.fail("there is no guest"),
      (reason) => reason,
    );
    return error.message === "QEMU has not connected" ? undefined : error.message;
  }, { what: "the connection" });
}

Deno.test("V7: ReverseWay.trySsh() refuses what is no greeting of an SSH server", async () => {
  await withWay(async (way, connect) => {
    using qemu = await connect();
    await qemu.write(new TextEncoder().encode("220 mail ready\r\n"));
    assert.match(await outcome(way, AbortSignal.timeout(10_000)), /is no greeting/);
  });
});

Deno.test("V7: ReverseWay.trySsh() goes by the QEMU that was started last", async () => {
  await withWay(async (way, connect) => {
    (await connect()).close();
    assert.match(await outcome(way, AbortSignal.timeout(10_000)), /QEMU ended the connection/);
    using second = await connect();
    await second.write(new TextEncoder().encode("nothing\n"));
    await until(
      async () => /is no greeting/.test(await outcome(way, AbortSignal.timeout(10_000))),
      {
        what: "the second connection",
      },
    );
  });
});

Deno.test("V7: ReverseWay.trySsh() gives up when it is aborted", async () => {
  await withWay(async (way, connect) => {
    using _qemu = await connect();
    assert.equal(await outcome(way, AbortSignal.abort(new Error("Enough"))), "Enough");
  });
});
