import assert from "node:assert/strict";
import { NetLab, netlabMissing } from "../../tests/netlab/netlab.ts";
import { testIf } from "../../tests/support/requires.ts";
import { until } from "../../tests/support/until.ts";
import { libc } from "./libc.ts";
import { insideNamespace } from "./namespace_linux.ts";
import { PacketTap } from "./packet_tap_linux.ts";
import { knockTcp } from "./tcp_knock_linux.ts";

// The C library stays open for the life of the thread: opened here, it is no leak of a test.
libc();

const LOOPBACK = 0x7f000001;
const BROADCAST = "ffffffffffff";

testIf(
  netlabMissing,
  "insideNamespace() makes sockets there and comes back, whatever happens",
  async () => {
    await using lab = await NetLab.create();
    const path = `/run/netns/${(await lab.namespace("other")).name}`;
    const own = await Deno.readLink("/proc/thread-self/ns/net");
    const within = insideNamespace(path, () => Deno.readLinkSync("/proc/thread-self/ns/net"));
    assert.notEqual(within, own);
    assert.throws(
      () =>
        insideNamespace(path, () => {
          throw new RangeError("Broken");
        }),
      RangeError,
    );
    assert.equal(await Deno.readLink("/proc/thread-self/ns/net"), own);
    assert.throws(() => insideNamespace("/run/netns/none", () => {}), { code: "namespace-failed" });
  },
);

testIf(netlabMissing, "knockTcp() hears who is there, who says no, and silence", async () => {
  await using lab = await NetLab.create();
  const path = `/run/netns/${(await lab.namespace("host")).name}`;
  const hostname = "127.0.0.1";
  using listener = insideNamespace(path, () => Deno.listen({ hostname, port: 0 }));
  const { port } = listener.addr;
  const knock = { path, address: LOOPBACK, port, timeoutMs: 5000 };
  const heard = knockTcp(knock);
  const connection = await listener.accept();
  await connection.write(new TextEncoder().encode("here"));
  assert.deepEqual(await heard, new TextEncoder().encode("here"));
  connection.close();
  assert.equal(await knockTcp({ ...knock, port: port ^ 1 }), "refused");
  // The same port on the machine's own loopback is another one.
  const other = `/run/netns/${(await lab.namespace("silent")).name}`;
  assert.equal(await knockTcp({ ...knock, path: other }), "refused");
  assert.equal(await knockTcp({ ...knock, address: 0xcb00710a, timeoutMs: 50 }), undefined);
});

testIf(
  netlabMissing,
  "PacketTap sees every frame of its namespace, as it was sent, and no other",
  async () => {
    await using lab = await NetLab.create();
    const a = await lab.namespace("a");
    const b = await lab.namespace("b");
    await lab.connect(a, "192.168.7.1/24", b, "192.168.7.2/24");
    using atA = new PacketTap(`/run/netns/${a.name}`);
    using atB = new PacketTap(`/run/netns/${b.name}`);
    using own = new PacketTap("/proc/self/ns/net");
    const frame = Uint8Array.fromHex(`${BROADCAST}02000000000188b5${"c0ffee".repeat(20)}`);
    const tooLong = new Uint8Array(9000);
    assert.equal(atA.send("eth0", [frame, tooLong]), 1);
    const seen: string[] = [];
    await until(() => {
      atB.drain((bytes) => seen.push(bytes.toHex()));
      return seen.includes(frame.toHex());
    }, { what: "the frame" });
    own.drain((bytes) => assert.notEqual(bytes.toHex(), frame.toHex()));
    assert.deepEqual([atA.lost, atB.lost], [0, 0]);
    assert.throws(() => atA.send("none", [frame]), { code: "tap-failed" });
  },
);
