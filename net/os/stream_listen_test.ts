/**
 * What is said of an address that cannot be listened on, and which address of this computer a
 * connection has come to.
 *
 * @module
 */

import assert from "node:assert/strict";
import { join } from "node:path";
import { commandMissing, testIf } from "../../tests/support/requires.ts";
import { until } from "../../tests/support/until.ts";
import { OmertaError } from "../../lib/core/errors.ts";
import { libc } from "./libc.ts";
import { openStreamsLinux } from "./stream_linux.ts";
import { openStreamsPortable } from "./stream_portable.ts";
import { listenFailed, type StreamAddress, type StreamSocket } from "./stream_socket.ts";

const noFfi = libc() === undefined ? "needs FFI on Linux" : undefined;
const notLinux = Deno.build.os === "linux" ? undefined : "needs Linux";

function tcp(address: string, port = 0): StreamAddress {
  return { kind: "tcp", address, port };
}

/** What an error says, its exit code and what comes next. */
function wordsOf(error: unknown): unknown[] {
  assert.ok(error instanceof OmertaError, String(error));
  return [error.code, error.message, error.exit, error.next];
}

const CHOOSE_ONE = 'Choose one that it has ("ip address" names them), or 127.0.0.1';
const ABOVE = [
  "listen-failed",
  "Cannot listen on 127.0.0.1:80: this user may not use that port",
  3,
  "Choose a port above 1023",
];

Deno.test("G6: listenFailed() has words for a port that only root may use", () => {
  assert.deepEqual(wordsOf(listenFailed(tcp("127.0.0.1", 80), "EACCES")), ABOVE);
  // What has no words of its own is still followed by what to do.
  assert.deepEqual(wordsOf(listenFailed(tcp("127.0.0.1", 80), "EMFILE")), [
    "listen-failed",
    "Cannot listen on 127.0.0.1:80: EMFILE",
    1,
    "Choose another address or port",
  ]);
});

for (
  const [kind, open, missing] of [
    ["linux", openStreamsLinux, noFfi],
    ["portable", openStreamsPortable, undefined],
  ] as const
) {
  /** What is said when that is listened on. */
  const refusalOf = (address: StreamAddress): unknown[] => {
    using streams = open();
    try {
      streams.listen(address, () => {})[Symbol.dispose]();
    } catch (error) {
      return wordsOf(error);
    }
    return [];
  };

  testIf(
    missing ?? notLinux,
    `G6: Streams (${kind}) say what an address lacks, and what next`,
    () => {
      // TEST-NET-1 (RFC 5737), which nobody has.
      assert.deepEqual(refusalOf(tcp("192.0.2.1")), [
        "listen-failed",
        "Cannot listen on 192.0.2.1:0: this computer does not have that address",
        1,
        CHOOSE_ONE,
      ]);
      assert.deepEqual(refusalOf(tcp("fe80::1", 8080)), [
        "listen-failed",
        "Cannot listen on [fe80::1]:8080: the system takes no such address to listen on",
        1,
        "Choose one that is neither link-local nor multicast, or 127.0.0.1",
      ]);
    },
  );

  testIf(
    missing ?? notLinux,
    `G6: Streams (${kind}) name the folder of a socket that is not there`,
    () => {
      const path = join(Deno.cwd(), "there-is-no-such-folder", "s.sock");
      const [code, message, exit, next] = refusalOf({ kind: "unix", path });
      assert.deepEqual([code, exit], ["listen-failed", 1]);
      assert.match(
        String(message),
        /^Cannot listen on .*s\.sock: (ENOENT|No such file or directory)/,
      );
      assert.equal(next, "See that its folder is there and may be written to");
    },
  );

  testIf(
    missing ?? notLinux ?? lowPortsMissing(),
    `G6: Streams (${kind}) say that a port is root's`,
    async () => {
      const words = await withoutRight(`
        import * as streams from "${import.meta.resolve(`./stream_${kind}.ts`)}";
        const open = streams.openStreamsLinux ?? streams.openStreamsPortable;
        try {
          open().listen({ kind: "tcp", address: "127.0.0.1", port: 80 }, () => {});
        } catch ({ code, message, exit, next }) {
          console.log(JSON.stringify([code, message, exit, next]));
        }
      `);
      assert.deepEqual(JSON.parse(words), ABOVE);
    },
  );

  testIf(
    missing ?? notLinux,
    `G5: Streams (${kind}) know which address was reached, and from where`,
    async () => {
      using streams = open();
      for (
        const [listen, to] of [
          ["0.0.0.0", "127.0.0.3"],
          ["::", "::1"],
          ["::", "127.0.0.3"],
        ] as const
      ) {
        let accepted: StreamSocket | undefined;
        using listener = streams.listen(tcp(listen), () => accepted ??= listener.accept());
        listener.watch(true);
        using client = await Deno.connect({ hostname: to, port: listener.port });
        using socket = await until(() => {
          streams.serve();
          return accepted;
        }, { what: "the connection" });
        const { hostname } = client.localAddr as Deno.NetAddr;
        assert.deepEqual([socket.localAddress, socket.remoteAddress], [to, hostname]);
      }
    },
  );
}

/** Runs a program that may use no port below 1024. @returns What it prints. */
async function withoutRight(program: string): Promise<string> {
  const command = [Deno.execPath(), "eval", "--quiet", "--no-check", program];
  if (Deno.uid() === 0) command.unshift("setpriv", "--bounding-set=-net_bind_service");
  const [first = "", ...args] = command;
  const { stdout, stderr } = await new Deno.Command(first, { args }).output();
  const text = new TextDecoder();
  return text.decode(stdout) || assert.fail(text.decode(stderr));
}

/** Why a program without that right, or that ports below 1024 need it, is not to be had here. */
function lowPortsMissing(): string | undefined {
  if (Deno.build.os !== "linux") return undefined;
  const path = "/proc/sys/net/ipv4/ip_unprivileged_port_start";
  if (Number(Deno.readTextFileSync(path)) <= 80) return "needs ports that are root's";
  return Deno.uid() === 0 ? commandMissing("setpriv") : undefined;
}
