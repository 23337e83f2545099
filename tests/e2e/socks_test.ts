/**
 * `omerta socks` with clients that others wrote: curl, and dante's socksify, which makes any program
 * one that speaks SOCKS5, here OpenBSD's netcat for TCP and UDP.
 *
 * @module
 */

import assert from "node:assert/strict";
import { dirname, join } from "node:path";
import type { RunResult } from "../../lib/core/process.ts";
import { netlabMissing } from "../netlab/netlab.ts";
import { namespaceWorld } from "../support/namespace_vm.ts";
import { commandMissing, testIf } from "../support/requires.ts";

const missing = netlabMissing ??
  commandMissing("ip", "ss", "nft", "setpriv", "curl", "nc", "socksify", "python3");

const OPEN_PORT = 1080;
const PASSWORD_PORT = 1081;
const USER = "ann";
const PASSWORD = "correct horse";

/** The VM's firewall: a port that is unreachable, and one that is silent. */
const RULES = `
table ip test {
  chain in {
    type filter hook input priority 0
    tcp dport 82 reject with icmp type host-unreachable
    tcp dport 83 drop
  }
}
`;
/** Sends a datagram of so many bytes, and says how long the answer is. */
const UDP_PY = `
import socket, sys
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.settimeout(10)
s.sendto(b"y" * int(sys.argv[2]), (sys.argv[1], 7))
print(len(s.recvfrom(65535)[0]))
`;

function danteConfig(port: number, method: "none" | "username"): string {
  return `resolveprotocol: fake
logoutput: /dev/null
route {
  from: 0.0.0.0/0 to: 0.0.0.0/0 via: 127.0.0.1 port = ${port}
  proxyprotocol: socks_v5
  command: connect udpassociate
  method: ${method}
}
`;
}

testIf(missing, "G5: omerta socks serves curl and dante, TCP and UDP", async (t) => {
  await using world = await namespaceWorld();
  const { borrower, machine, vm } = world;
  await vm.machine.runChecked("nft", ["-f", "-"], { input: RULES });
  const folder = dirname(borrower.path);
  const passwordFile = join(folder, "password");
  await Deno.writeTextFile(passwordFile, `${PASSWORD}\n`, { mode: 0o644 });
  await borrower.ok("daemon", "start", "--no-lend", "--port", "0");
  await borrower.ok("socks", "--background");
  const withPassword = ["--user", USER, "--password-file", passwordFile];
  await borrower.ok("socks", "--port", `${PASSWORD_PORT}`, ...withPassword, "--background");

  const curl = (url: string, port = OPEN_PORT, ...more: string[]): Promise<RunResult> => {
    const proxy = ["--noproxy", "", "--socks5-hostname", `127.0.0.1:${port}`];
    const args = ["-sS", "--max-time", "50", ...proxy, ...more, url];
    return machine.run("curl", args, { timeoutMs: 60_000 });
  };
  /** What curl says that the server replied. */
  const replyTo = async (port: number): Promise<string | undefined> => {
    const { code, stderr } = await curl(`http://web:${port}/`);
    assert.equal(code, 97, stderr);
    return /\((\d+)\)\s*$/.exec(stderr)?.[1];
  };
  const dante = async (program: string[], input: string, port = OPEN_PORT): Promise<RunResult> => {
    const config = join(folder, `dante-${port}.conf`);
    const method = port === OPEN_PORT ? "none" : "username";
    await Deno.writeTextFile(config, danteConfig(port, method), { mode: 0o644 });
    const env = { SOCKS_CONF: config, SOCKS_USERNAME: USER, SOCKS_PASSWORD: PASSWORD };
    return await machine.run("socksify", program, { input, env, timeoutMs: 60_000 });
  };
  // Takes as long as a connection is tried for, so it is begun first.
  const silent = Promise.all([replyTo(83), dante(["nc", "-N", "web", "83"], "")]);

  await t.step("CONNECT by name and by address", async () => {
    for (const host of ["web", "web.omerta", "10.0.0.2"]) {
      const { stdout, stderr } = await curl(`http://${host}/${host}`);
      assert.equal(stdout, `10.0.0.2 /${host}\n`, stderr);
      const line = await dante(["nc", "-N", host, "7"], "to dante\n");
      assert.equal(line.stdout, "hello\nto dante\n", line.stderr);
    }
    const byNumber = await machine.run("curl", [
      ...["-sS", "--max-time", "20", "--noproxy", ""],
      ...["--socks5", `127.0.0.1:${OPEN_PORT}`, "http://10.0.0.2/n"],
    ]);
    assert.equal(byNumber.stdout, "10.0.0.2 /n\n", byNumber.stderr);
  });

  await t.step("UDP ASSOCIATE by name and by address, fragments too", async () => {
    for (const host of ["web", "10.0.0.2"]) {
      const { stdout, stderr } = await dante(["nc", "-u", "-w", "1", host, "7"], "datagram\n");
      assert.equal(stdout, "datagram\n", stderr);
    }
    for (const size of ["0", "1", "1372", "5000"]) {
      const { stdout, stderr } = await dante(["python3", "-c", UDP_PY, "web", size], "");
      assert.equal(stdout, `${size}\n`, stderr);
    }
  });

  await t.step("refused and unreachable are told, and nobody is", async () => {
    assert.equal(await replyTo(81), "5");
    assert.equal(await replyTo(82), "4");
    const nobody = await curl("http://db/");
    assert.match(nobody.stderr, /\(4\)\s*$/);
    const refused = await dante(["nc", "-N", "-v", "web", "81"], "");
    assert.match(refused.stderr, /Connection refused/);
    const unreachable = await dante(["nc", "-N", "-v", "web", "82"], "");
    assert.match(unreachable.stderr, /unreachable|No route to host/);
  });

  await t.step("a password is wanted where there is one, for UDP too", async () => {
    const good = await curl("http://web/p", PASSWORD_PORT, "--proxy-user", `${USER}:${PASSWORD}`);
    assert.equal(good.stdout, "10.0.0.2 /p\n", good.stderr);
    for (const user of [[], ["--proxy-user", `${USER}:wrong`]]) {
      assert.equal((await curl("http://web/p", PASSWORD_PORT, ...user)).code, 97);
    }
    const datagram = await dante(["nc", "-u", "-w", "1", "web", "7"], "known\n", PASSWORD_PORT);
    assert.equal(datagram.stdout, "known\n", datagram.stderr);
  });

  await t.step("the password is nowhere but in a file of its user's own", async () => {
    const { mode } = await Deno.stat(borrower.paths.forwards);
    assert.equal((mode ?? 0) & 0o777, 0o600);
    assert.ok((await Deno.readTextFile(borrower.paths.forwards)).includes(PASSWORD));
    const shown = await borrower.ok("forward", "list", "--json") + await borrower.logs();
    assert.ok(shown.includes("socks"));
    assert.equal(shown.includes(PASSWORD), false);
  });

  await t.step("a host that is silent is told as a time that ran out", async () => {
    const [reply, line] = await silent;
    assert.equal(reply, "6");
    assert.notEqual(line.code, 0);
  });

  await t.step("nothing of all that is left", async () => {
    for (const { id, active } of JSON.parse(await borrower.ok("forward", "list", "--json"))) {
      assert.equal(active, 0);
      await borrower.ok("forward", "stop", id);
    }
    // What is left is the daemon's own port, which is on every address.
    assert.doesNotMatch((await machine.runChecked("ss", ["-tulnH"])).stdout, /127\.0\.0\.1/);
    assert.deepEqual(JSON.parse(await Deno.readTextFile(borrower.paths.forwards)).proxies, []);
  });
});
