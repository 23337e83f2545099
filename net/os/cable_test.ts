import assert from "node:assert/strict";
import { join } from "node:path";
import { testIf } from "../../tests/support/requires.ts";
import { until } from "../../tests/support/until.ts";
import { openCableLinux } from "./cable_linux.ts";
import type { CableOptions } from "./cable_options.ts";
import { openCablePortable } from "./cable_portable.ts";
import { libc } from "./libc.ts";
import type { PacketHandler, PacketSocket } from "./packet_socket.ts";

class Inbox implements PacketHandler {
  readonly frames: Uint8Array[] = [];
  receive(buffer: Uint8Array, at: number, length: number): void {
    this.frames.push(buffer.slice(at, at + length));
  }
}

function send(socket: PacketSocket, frame: Uint8Array): void {
  const at = socket.out.reserve(frame.length);
  assert.ok(at >= 0);
  socket.out.buffer.set(frame, at);
  socket.out.commit(frame.length);
}

async function folder(): Promise<AsyncDisposable & { path: string }> {
  const path = await Deno.makeTempDir({ prefix: "omerta-cable-" });
  return { path, [Symbol.asyncDispose]: () => Deno.remove(path, { recursive: true }) };
}

const implementations: {
  name: string;
  open: (options: CableOptions) => PacketSocket;
  missing: string | undefined;
}[] = [
  {
    name: "openCableLinux()",
    open: openCableLinux,
    missing: libc() === undefined ? "needs FFI on Linux" : undefined,
  },
  { name: "openCablePortable()", open: openCablePortable, missing: undefined },
];

for (const { name, open, missing } of implementations) {
  testIf(missing, `${name} carries frames both ways, in order, none lost`, async () => {
    await using temp = await folder();
    const [a, b] = [join(temp.path, "a"), join(temp.path, "b")];
    using host = open({ localPath: a, peerPath: b });
    using guest = open({ localPath: b, peerPath: a });
    for (const [from, to] of [[host, guest], [guest, host]] as const) {
      const inbox = new Inbox();
      for (let i = 0; i < 100; i++) {
        send(from, new Uint8Array(14 + i * 15).fill(i));
        from.out.flush();
        await until(() => {
          to.drain(inbox, 64);
          return inbox.frames.length > i;
        }, { what: `frame ${i}` });
      }
      assert.deepEqual(
        inbox.frames,
        Array.from({ length: 100 }, (_, i) => new Uint8Array(14 + i * 15).fill(i)),
      );
      assert.equal(to.counters.received, 100);
    }
  });

  testIf(missing, `${name} counts frames for a guest that is not there yet, or gone`, async () => {
    await using temp = await folder();
    const [a, b] = [join(temp.path, "a"), join(temp.path, "b")];
    using host = open({ localPath: a, peerPath: b });
    send(host, new Uint8Array(60));
    host.out.flush();
    await until(() => host.counters.noPeer === 1, { what: "the frame to be counted" });
    {
      using guest = open({ localPath: b, peerPath: a });
      send(host, new Uint8Array(61));
      host.out.flush();
      const inbox = new Inbox();
      await until(() => guest.drain(inbox, 64) > 0, { what: "the frame to arrive" });
    }
    send(host, new Uint8Array(62));
    host.out.flush();
    await until(() => host.counters.noPeer === 2, { what: "the second frame to be counted" });
    // Whoever comes next to the same place is found there.
    using next = open({ localPath: b, peerPath: a });
    send(host, new Uint8Array(63));
    host.out.flush();
    const inbox = new Inbox();
    await until(() => next.drain(inbox, 64) > 0, { what: "the frame to arrive at the next" });
    assert.deepEqual(inbox.frames.map(({ length }) => length), [63]);
  });

  testIf(
    missing,
    `${name} replaces a socket that was left behind and removes its own`,
    async () => {
      await using temp = await folder();
      const path = join(temp.path, "a");
      const left = Deno.listenDatagram({ transport: "unixpacket", path });
      left.close();
      assert.ok((await Deno.lstat(path)).isSocket);
      {
        using _cable = open({ localPath: path, peerPath: join(temp.path, "b") });
        assert.equal(((await Deno.lstat(path)).mode ?? 0) & 0o777, 0o600);
      }
      await assert.rejects(Deno.lstat(path), Deno.errors.NotFound);
    },
  );

  testIf(missing, `${name} does not replace a file that is no socket`, async () => {
    await using temp = await folder();
    const path = join(temp.path, "a");
    await Deno.writeTextFile(path, "precious");
    assert.throws(
      () => open({ localPath: path, peerPath: join(temp.path, "b") }),
      { code: "cable-failed" },
    );
    assert.equal(await Deno.readTextFile(path), "precious");
  });

  testIf(missing, `${name} drops a frame longer than any guest's`, async () => {
    await using temp = await folder();
    const [a, b] = [join(temp.path, "a"), join(temp.path, "b")];
    using host = open({ localPath: a, peerPath: b });
    const guest = Deno.listenDatagram({ transport: "unixpacket", path: b });
    await guest.send(new Uint8Array(5000), { transport: "unixpacket", path: a });
    guest.close();
    const inbox = new Inbox();
    await until(() => {
      host.drain(inbox, 64);
      return host.counters.truncated === 1;
    }, { what: "the frame to be counted" });
    assert.deepEqual(inbox.frames, []);
    assert.equal(host.out.reserve(5000), -1);
  });

  testIf(missing, `${name} names a path that is too long or not there`, () => {
    for (const path of ["/nonexistent-folder/a", `/tmp/${"x".repeat(200)}`]) {
      assert.throws(() => open({ localPath: path, peerPath: "/tmp/b" }), (error: Error) => {
        assert.equal((error as { code?: string }).code, "cable-failed");
        assert.ok(error.message.includes(path));
        return true;
      });
    }
  });
}

testIf(
  implementations[0]?.missing,
  "openCableLinux() drops the rest of a burst when the guest does not read, and does not wait long",
  async () => {
    await using temp = await folder();
    const [a, b] = [join(temp.path, "a"), join(temp.path, "b")];
    using host = openCableLinux({ localPath: a, peerPath: b });
    using guest = openCableLinux({ localPath: b, peerPath: a });
    let turnedAway = 0;
    for (let i = 0; i < 2000; i++) {
      if (host.out.reserve(60) < 0) turnedAway++;
      else host.out.commit(60);
    }
    host.out.flush();
    assert.ok(host.counters.full > 0 && turnedAway > 0);
    assert.equal(host.counters.full + host.counters.sent + turnedAway, 2000);
    // One that has used up its sleeps is asked once in each turn, and no more.
    const { sent, sendCalls } = host.counters;
    for (let turn = 0; turn < 10; turn++) {
      send(host, new Uint8Array(60));
      host.out.flush();
    }
    assert.deepEqual([host.counters.sent, host.counters.sendCalls], [sent, sendCalls + 10]);
    // As soon as it reads again, it gets frames again.
    const inbox = new Inbox();
    assert.ok(guest.drain(inbox, 2000) > 0);
    send(host, new Uint8Array([7]));
    host.out.flush();
    assert.equal(host.counters.sent, sent + 1);
    guest.drain(inbox, 2000);
    assert.deepEqual(inbox.frames.at(-1), new Uint8Array([7]));
  },
);
