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
import { until } from "../support/until.ts";

const missing = netlabMissing ??
  commandMissing("ip", "ss", "nft", "setpriv", "curl", "nc", "socksify", "python3");

const OPEN_PORT = 1080;
const PASSWORD_PORT = 1081;
/** Port of a server on every address. */
const PUBLIC_PORT = 1082;
/** The borrower on the network that it shares with the VM's machine. */
const BORROWER = "192.168.1.7";
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
/** Sends a datagram of so many bytes until it is answered, and says how long the answer is. */
const UDP_PY = `
import socket, sys, time
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.settimeout(3)
end = time.monotonic() + 45
while time.monotonic() < end:
    s.sendto(b"y" * int(sys.argv[2]), (sys.argv[1], 7))
    try:
        print(len(s.recvfrom(65535)[0]))
        break
    except TimeoutError:
        pass
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

  const curlBy = (proxy: string, url: string, ...more: string[]): string[] => [
    ...["-sS", "--max-time", "50", "--noproxy", "", "--socks5-hostname", proxy, ...more, url],
  ];
  const curl = (url: string, port = OPEN_PORT, ...more: string[]): Promise<RunResult> =>
    machine.run("curl", curlBy(`127.0.0.1:${port}`, url, ...more));
  /** What curl says that the server replied. */
  const replyTo = async (port: number): Promise<string | undefined> => {
    const { code, stderr } = await curl(`http://web:${port}/`);
    assert.equal(code, 97, stderr);
    return /\((\d+)\)\s*$/.exec(stderr)?.[1];
  };
  const configOf = (port: number): string => join(folder, `dante-${port}.conf`);
  for (const [port, method] of [[OPEN_PORT, "none"], [PASSWORD_PORT, "username"]] as const) {
    await Deno.writeTextFile(configOf(port), danteConfig(port, method), { mode: 0o644 });
  }
  const dante = (program: string[], input: string, port = OPEN_PORT): Promise<RunResult> => {
    const env = { SOCKS_CONF: configOf(port), SOCKS_USERNAME: USER, SOCKS_PASSWORD: PASSWORD };
    return machine.run("socksify", program, { input, env, timeoutMs: 60_000 });
  };
  /** What netcat prints for a datagram, which it sends once and waits a second for an answer to. */
  const datagram = (host: string, words: string, port = OPEN_PORT): Promise<string> =>
    until(async () => (await dante(["nc", "-u", "-w", "1", host, "7"], words, port)).stdout, {
      timeoutMs: 60_000,
      what: `an answer from ${host}`,
    });
  const { pid }: { pid: number } = JSON.parse(await borrower.ok("status", "--json"));
  /** The addresses and ports where the daemon listens for TCP. */
  const listening = async (): Promise<(string | undefined)[]> => {
    const { stdout } = await machine.runChecked("ss", ["-ltnHp"]);
    const lines = stdout.split("\n").filter((line) => line.includes(`pid=${pid},`));
    return lines.map((line) => line.split(/ +/)[3]).sort();
  };
  const loopback = [OPEN_PORT, PASSWORD_PORT].map((port) => `127.0.0.1:${port}`);
  // Takes as long as a connection is tried for, so it is begun first.
  const silent = Promise.all([replyTo(83), dante(["nc", "-N", "-v", "web", "83"], "")]);
  silent.catch(() => {}); // told by the step that waits for it

  await t.step("both listen on loopback and nowhere else", async () => {
    assert.deepEqual(await listening(), loopback);
  });

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
      assert.equal(await datagram(host, "datagram\n"), "datagram\n");
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
    assert.equal(await datagram("web", "known\n", PASSWORD_PORT), "known\n");
  });

  await t.step(
    "another computer is served where that was asked for, with the password",
    async () => {
      const everywhere = ["--bind", "0.0.0.0", "--port", `${PUBLIC_PORT}`];
      await borrower.ok("socks", ...everywhere, ...withPassword, "--background");
      assert.deepEqual(await listening(), [`0.0.0.0:${PUBLIC_PORT}`, ...loopback]);
      const other = (port: number, ...more: string[]): Promise<RunResult> =>
        vm.machine.run("curl", curlBy(`${BORROWER}:${port}`, "http://web/o", ...more));
      const known = ["--proxy-user", `${USER}:${PASSWORD}`];
      const good = await other(PUBLIC_PORT, ...known);
      assert.equal(good.stdout, "10.0.0.2 /o\n", good.stderr);
      assert.equal((await other(PUBLIC_PORT)).code, 97);
      assert.equal((await other(PUBLIC_PORT, "--proxy-user", `${USER}:wrong`)).code, 97);
      for (const port of [OPEN_PORT, PASSWORD_PORT]) {
        const refused = await other(port, ...known);
        assert.match(refused.stderr, /refused|Couldn't connect|Could not connect/);
        assert.equal(refused.code, 7);
      }
    },
  );

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
    assert.match(line.stderr, /timed out/);
    assert.equal(line.code, 1);
  });

  await t.step("nothing of all that is left", async () => {
    const listed = async (): Promise<{ id: string; active: number }[]> =>
      JSON.parse(await borrower.ok("forward", "list", "--json"));
    await until(async () => (await listed()).every(({ active }) => active === 0), {
      what: "every connection to end",
    });
    for (const { id } of await listed()) await borrower.ok("forward", "stop", id);
    assert.deepEqual(await listening(), []);
    // What is left is the daemon's own port, which is on every address.
    assert.doesNotMatch((await machine.runChecked("ss", ["-ulnH"])).stdout, /127\.0\.0\.1/);
    assert.deepEqual(JSON.parse(await Deno.readTextFile(borrower.paths.forwards)).proxies, []);
  });
});
