/**
 * A lender and a borrower who have no rights: no TUN device, no raw socket, nothing. One guest;
 * tests/e2e/user_test.ts has what needs none.
 *
 * @module
 */

import assert from "node:assert/strict";
import { join } from "node:path";
import type { RunResult } from "../../lib/core/process.ts";
import { netlabMissing } from "../netlab/netlab.ts";
import { Home } from "../support/home.ts";
import { allAnswered } from "../support/ping.ts";
import { commandMissing, testIf } from "../support/requires.ts";
import { LENDER, shareLink, twoMachines } from "../support/two_machines.ts";

const missing = netlabMissing ??
  commandMissing("qemu-system-x86_64", "qemu-img", "ssh", "scp", "setpriv");

/** Time for a translated guest on a busy host, in ms. */
const READY_MS = 250_000;

testIf(missing, "L6: a VM is lent and used without rights, by the stack alone", async (t) => {
  await using world = await twoMachines();
  await using lender = await Home.createWithoutRights(world.lenderMachine);
  await using borrower = await Home.createWithoutRights(world.borrowerMachine);
  await lender.shareImages();
  await lender.startDaemon();
  await shareLink({ ...world, lender, borrower });
  const asked = ["vm", "request", "--provider", LENDER, "--name", "web", "--cpu", "2"];
  const { code, stdout, stderr } = await borrower.run(asked, { timeoutMs: READY_MS });
  assert.equal(code, 0, stderr + await borrower.logs() + await lender.logs());

  await t.step("status says so, and there is no interface", async () => {
    assert.equal(await borrower.hasTun(), false);
    assert.match(await borrower.ok("status"), /^ {2}interface userspace \(Cannot /m);
    assert.match(stdout, /^ {2}or +ssh -o 'ProxyCommand=/m);
  });

  await t.step("ssh: commands, input, arguments and exit codes", async () => {
    assert.equal(await borrower.ok("ssh", "web", "hostname"), "web\n");
    assert.equal((await borrower.run(["ssh", "web", "exit 7"])).code, 7);
    assert.equal(await borrower.ok("ssh", "web", "printf '%s|' 'a b' \"c\""), "a b|c|");
    const input = "x".repeat(3_000_000);
    const counted = await borrower.run(["ssh", "web", "wc -c"], { input, timeoutMs: 60_000 });
    assert.equal(counted.stdout.trim(), "3000000");
  });

  await t.step("ping and nc", async () => {
    assert.match(await allAnswered(borrower, "ping", "web", "--count", "2"), /^answers +2 of 2/m);
    const { stdout: greeting } = await borrower.run(["nc", "web", "22"], { input: "\n" });
    assert.match(greeting, /^SSH-2\.0-/);
  });

  await t.step("cp, and plain ssh by ssh-config", async () => {
    const folder = join(borrower.path, "..");
    const file = join(folder, "made");
    await Deno.writeTextFile(file, "made here\n", { mode: 0o644 });
    await borrower.ok("cp", file, "web:/tmp/there");
    assert.equal(await borrower.ok("ssh", "web", "cat /tmp/there"), "made here\n");
    assert.notEqual((await borrower.run(["cp", "web:/tmp/nothing", "/tmp"])).code, 0);
    const config = join(folder, "ssh_config");
    await Deno.writeTextFile(config, await borrower.ok("ssh-config", "web"), { mode: 0o644 });
    for (const host of ["web", "web.omerta"]) {
      const plain = await borrower.runOther("ssh", ["-F", config, host, "cat /tmp/there"]);
      assert.equal(plain.stdout, "made here\n", plain.stderr);
    }
  });

  await t.step("L10, G6: ssh to an address, by a forward, and a jump through it", async () => {
    assert.equal(await borrower.ok("ssh", "omerta@10.0.0.2", "hostname"), "web\n");
    assert.equal(await borrower.ok("ssh", "-T", "10.0.0.2", "hostname"), "web\n");
    const folder = join(borrower.path, "..");
    const config = join(folder, "forward_config");
    const { sshKey, knownHosts } = borrower.paths;
    const [id] = (await Deno.readTextFile(knownHosts)).split(",");
    const login = `User omerta\nIdentityFile "${sshKey}"\nUserKnownHostsFile "${knownHosts}"\n`;
    const hosts = `Host localhost\nHostKeyAlias ${id}\nHost *\n${login}`;
    await Deno.writeTextFile(config, hosts, { mode: 0o644 });
    await borrower.ok("forward", "2222:10.0.0.2:22", "--background");
    const plain = (...args: string[]): Promise<RunResult> =>
      borrower.runOther("ssh", ["-F", config, ...args, "hostname; exit 9"]);
    for (const args of [["-p", "2222", "localhost"], ["-J", "localhost:2222", "10.0.0.2"]]) {
      const { code, stdout, stderr } = await plain(...args);
      assert.deepEqual([code, stdout], [9, "web\n"], stderr);
    }
  });

  await borrower.ok("vm", "release", "web");
  assert.match(await borrower.fails(2, "nc", "web", "22"), /No such host in the tunnel/);
});
