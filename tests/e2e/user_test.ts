/**
 * What a borrower without any right has by the userspace stack: pings, connections, forwards.
 * forward_test.ts, socks_test.ts and ssh_tools_test.ts go deeper; tests/guest/user_test.ts has a guest.
 *
 * @module
 */

import assert from "node:assert/strict";
import { join } from "node:path";
import { exists } from "../../lib/core/files.ts";
import { netlabMissing } from "../netlab/netlab.ts";
import { namespaceWorld } from "../support/namespace_vm.ts";
import { allAnswered } from "../support/ping.ts";
import { commandMissing, testIf } from "../support/requires.ts";
import { until } from "../support/until.ts";

const missing = netlabMissing ?? commandMissing("ip", "setpriv", "python3");

/** Connects, writes, and prints all that comes. */
const ASK_PY = `
import socket, sys
s = socket.create_connection((sys.argv[1], int(sys.argv[2])), 20)
s.sendall(bytes.fromhex(sys.argv[3]))
s.shutdown(socket.SHUT_WR)
print(s.makefile("rb").read())
`;
/** Runs a command that hands a connection over, as ssh does; uses it once the command has ended. */
const TAKE_PY = `
import socket, subprocess, sys
ours, theirs = socket.socketpair()
child = subprocess.Popen(sys.argv[1:], stdin=theirs, stdout=theirs)
theirs.close()
_, handed, _, _ = socket.recv_fds(ours, 1, 1)
assert child.wait(20) == 0
s = socket.socket(fileno=handed[0])
s.sendall(b"handed")
s.shutdown(socket.SHUT_WR)
print(s.makefile("rb").read())
`;

testIf(missing, "L6: a borrower without rights reaches a VM by the stack", async (t) => {
  await using world = await namespaceWorld();
  const { borrower, machine: borrowerMachine, vm } = world;
  const { machine: vmMachine, lease } = vm;
  await borrower.ok("daemon", "start", "--no-lend", "--port", "0");
  const ask = async (address: string, port: number, bytes: string): Promise<string> => {
    const hex = new TextEncoder().encode(bytes).toHex();
    const args = ["-c", ASK_PY, address, `${port}`, hex];
    return (await borrowerMachine.runChecked("python3", args)).stdout;
  };

  await t.step("status and ping", async () => {
    assert.equal(await borrower.hasTun(), false);
    assert.match(await borrower.ok("status"), /^ {2}interface userspace \(Cannot /m);
    for (const host of ["web", "web.omerta", "10.0.0.2", lease.id]) {
      assert.match(await allAnswered(borrower, "ping", host, "--count", "1"), /^answers +1 of 1/m);
    }
    const three = ["vpn", "test", "--server-ip", "10.0.0.2", "--count", "3"];
    assert.match(await allAnswered(borrower, ...three), /^answers +3 of 3/m);
    await borrower.fails(2, "ping", "db");
    await borrower.fails(4, "ping", "10.0.0.9", "--count", "1", "--timeout", "1s");
  });

  await t.step("nc", async () => {
    const input = "x".repeat(3_000_000);
    const { stdout, stderr } = await borrower.run(["nc", "web", "7"], { input });
    assert.ok(stdout === `hello\n${input}`, `${stdout.length} bytes; ${stderr}`);
    assert.match(await borrower.fails(5, "nc", "web", "81"), /Connection refused/);
    assert.match(await borrower.fails(2, "nc", "db", "7"), /No such host in the tunnel/);
    assert.equal(((await Deno.stat(borrower.paths.pipe)).mode ?? 0) & 0o777, 0o600);
  });

  await t.step("nc hands its connection over, and ends", async () => {
    const args = ["-c", TAKE_PY, ...borrower.commandLine("nc", "--hand-over", "web", "7")];
    const { stdout } = await borrowerMachine.runChecked("python3", args);
    assert.match(stdout, /hello\\nhanded/);
    assert.match(await borrower.fails(2, "nc", "--hand-over", "web", "7"), /is no unix socket/);
    await borrower.fails(5, "nc", "--hand-over", "web", "81");
  });

  await t.step("forward, both ways, and SOCKS5", async () => {
    const open = async (...args: string[]): Promise<string> =>
      /^([0-9a-f]{8}): /.exec(await borrower.ok(...args, "--background"))?.[1] ?? assert.fail();
    const there = await open("forward", "8007:web:7");
    assert.match(await ask("127.0.0.1", 8007, "there"), /hello\\nthere/);
    assert.match(await borrower.fails(1, "forward", "8007:web:7"), /another program uses it/);
    const socks = await open("socks", "--port", "1081");
    // No password; CONNECT by name.
    const request = "\x05\x01\x00\x05\x01\x00\x03\x03web\x00\x07socks";
    assert.match(await ask("127.0.0.1", 1081, request), /hello\\nsocks/);
    await borrower.fails(2, "socks", "--bind", "0.0.0.0");
    // A port that the VM sees leads to the first forward, and so to the VM again.
    const back = await open("forward", "--reverse", "9007:localhost:8007");
    const seen = ["-c", ASK_PY, "10.0.0.1", "9007", "00"];
    assert.match((await vmMachine.runChecked("python3", seen)).stdout, /hello/);
    const list = await borrower.ok("forward", "list");
    for (const id of [there, socks, back]) assert.match(list, new RegExp(`^ *${id} `, "m"));
    for (const id of [there, socks, back]) await borrower.ok("forward", "stop", id);
    assert.match(await borrower.ok("forward", "list"), /^Nothing is forwarded/);
    await assert.rejects(vmMachine.runChecked("python3", seen));
    await borrower.fails(2, "forward", "stop", there);
  });

  await t.step("a forward in the foreground goes with its command", async () => {
    const child = borrower.spawn(["forward", "8007:web:7"], { stdout: "null", stderr: "null" });
    await until(async () => (await borrower.ok("forward", "list")).includes("8007"), {
      what: "the forward",
    });
    assert.match(await ask("127.0.0.1", 8007, "there"), /hello\\nthere/);
    child.kill("SIGKILL");
    await child.status;
    await until(async () => /^Nothing/.test(await borrower.ok("forward", "list")), {
      what: "the forward to end",
    });
  });

  await t.step("ssh-config names what plain ssh needs", async () => {
    const text = await borrower.ok("ssh-config", "web");
    assert.match(text, /^Host web web\.omerta\n {2}HostName 10\.0\.0\.2\n {2}User omerta$/m);
    assert.match(text, new RegExp(`^ {2}HostKeyAlias ${lease.id}$`, "m"));
    // Nothing is handed over: a ProxyCommand of the user's may stand in its place.
    assert.match(text, /^ {2}ProxyCommand 'env' .* 'nc' %h %p$/m);
    assert.doesNotMatch(text, /ProxyUseFdpass/);
  });

  await borrower.ok("daemon", "stop");
  assert.equal(await exists(join(borrower.path, "pipe.sock")), false);
  assert.match(await borrower.fails(4, "nc", "web", "7"), /no daemon/);
  assert.match(await borrower.fails(4, "nc", "--hand-over", "web", "7"), /no daemon/);
});
