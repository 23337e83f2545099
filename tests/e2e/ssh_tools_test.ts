/**
 * What logs in to a VM without root: omerta ssh, and plain ssh, scp, rsync and git by what
 * `omerta ssh-config` prints, or by a forward. The VM's SSH server is dropbear; tests/guest has
 * OpenSSH's.
 *
 * @module
 */

import assert from "node:assert/strict";
import { basename, delimiter, dirname, join } from "node:path";
import type { RunResult } from "../../lib/core/process.ts";
import { generateSshKey } from "../../lib/core/ssh_key.ts";
import { netlabMissing } from "../netlab/netlab.ts";
import { namespaceWorld } from "../support/namespace_vm.ts";
import { commandMissing, testIf } from "../support/requires.ts";
import { startSshServer } from "../support/ssh_server.ts";
import { until } from "../support/until.ts";

const missing = netlabMissing ??
  commandMissing(
    ...["ip", "ss", "setpriv", "ssh", "scp", "rsync", "git", "unshare"],
    ...["dropbear", "dropbearconvert"],
  );

/** Where a server listens that has another host key than the lender has announced. */
const IMPOSTOR_PORT = 2200;
/** Where connections are taken and nobody greets (discard, RFC 863). */
const SILENT_PORT = 9;
const SCRIPTS = join(import.meta.dirname ?? ".", "..", "..", "scripts");

testIf(missing, "L10: programs log in to a VM without root and without a route", async (t) => {
  const hostKey = generateSshKey("vm");
  await using world = await namespaceWorld({ hostKey: hostKey.publicLine });
  const { borrower, machine, vm } = world;
  const folder = dirname(borrower.path);
  const serverFolder = await startSshServer(vm.machine, {
    address: vm.lease.address,
    hostKeys: new Map([[22, hostKey], [IMPOSTOR_PORT, generateSshKey("impostor")]]),
    authorizedKeys: await Deno.readTextFile(`${borrower.paths.sshKey}.pub`),
  });
  await using cleanup = new AsyncDisposableStack();
  cleanup.defer(() => Deno.remove(serverFolder, { recursive: true }));
  await borrower.ok("daemon", "start", "--no-lend", "--port", "0");

  // As a user has it: omerta on the PATH, and its settings in a file of ssh's.
  const bin = join(folder, "bin");
  await Deno.mkdir(bin, { mode: 0o755 });
  await Deno.symlink(join(SCRIPTS, "omerta"), join(bin, "omerta"));
  const path = [bin, dirname(Deno.execPath()), Deno.env.get("PATH")].join(delimiter);
  const config = join(folder, "ssh_config");
  const forwarded = `Host localhost
  User omerta
  IdentityFile "${borrower.paths.sshKey}"
  UserKnownHostsFile "${borrower.paths.knownHosts}"
  HostKeyAlias ${vm.lease.id}
Host 10.0.0.2
  User omerta
  IdentityFile "${borrower.paths.sshKey}"
  UserKnownHostsFile "${borrower.paths.knownHosts}"
`;
  const block = await borrower.ok("ssh-config", "web");
  await Deno.writeTextFile(config, block + forwarded, { mode: 0o644 });
  /** Runs a line of a shell of the borrower's. */
  const shell = (line: string): Promise<RunResult> =>
    borrower.runOther("env", [
      ...[`PATH=${path}`, `OMERTA_HOME=${borrower.path}`, `GIT_SSH_COMMAND=ssh -F ${config}`],
      ...["GIT_CONFIG_GLOBAL=/dev/null", "GIT_AUTHOR_NAME=a", "GIT_AUTHOR_EMAIL=a@localhost"],
      ...["GIT_COMMITTER_NAME=a", "GIT_COMMITTER_EMAIL=a@localhost", "TERM=dumb"],
      ...["sh", "-ec", `cd ${folder}; ${line}`],
    ]);
  const ok = async (line: string): Promise<string> => {
    const { code, stdout, stderr } = await shell(line);
    assert.equal(code, 0, `${line}: ${stderr}${stdout}`);
    return stdout;
  };

  /** Whether such a program of the borrower's runs. */
  const isRunning = async (program: string): Promise<boolean> =>
    (await borrower.processes()).some((line) => basename(line.split(" ", 1)[0] ?? "") === program);

  await t.step("omerta ssh by name, id and address, while plain ssh has no route", async () => {
    const plain = await shell("ssh -F /dev/null -o BatchMode=yes 10.0.0.2 true");
    assert.equal(plain.code, 255);
    assert.match(plain.stderr, /Network is unreachable/);
    for (const host of ["web", "web.omerta", vm.lease.id.slice(0, 6), "10.0.0.2"]) {
      assert.equal(await borrower.ok("ssh", host, "id -un"), "omerta\n");
      assert.equal(await borrower.ok("ssh", `omerta@${host}`, "id -un"), "omerta\n");
    }
    assert.equal((await borrower.run(["ssh", "nobody@10.0.0.2", "true"])).code, 255);
    assert.match(await borrower.fails(2, "ssh", "10.0.0.9"), /Cannot find a borrowed VM/);
  });

  await t.step("omerta ssh hands on words, input, and the exit code", async () => {
    assert.equal((await borrower.run(["ssh", "web", "exit 7"])).code, 7);
    assert.equal(await borrower.ok("ssh", "web", "printf '%s|' 'a b' \"c\" -x"), "a b|c|-x|");
    assert.equal(await borrower.ok("ssh", "web", "--", "printf", "%s.", "-x", "--"), "-x.--.");
    const input = "x".repeat(3_000_000);
    const counted = await borrower.run(["ssh", "web", "wc -c"], { input, timeoutMs: 60_000 });
    assert.equal(counted.stdout.trim(), "3000000");
    const { stderr } = await borrower.run(["ssh", "-v", "-o", "SendEnv=NO_COLOR", "web", "true"]);
    assert.match(stderr, /debug1: /);
    const terminal = await borrower.run(["ssh", "web", "-tt", "tty"], { input: "" });
    assert.match(terminal.stdout, /^\/dev\/pts\/\d+/);
    // Whatever looks like a call for our help is the VM's.
    assert.match(await borrower.ok("ssh", "-T", "web", "df", "-h", "/"), /^Filesystem +Size/);
    const settings = await borrower.ok("ssh", "-Gp", "23", "--", "web", "ls", "--help");
    assert.match(settings, /^port 23$/m);
  });

  await t.step("options behind the VM are ssh's own", async () => {
    const { stderr } = await borrower.run(["ssh", "-v", "web", "-l", "nobody", "true"]);
    assert.match(stderr, /Authenticating to 10\.0\.0\.2:22 as 'nobody'/);
  });

  for (const [signal, code] of [["SIGTERM", 255], ["SIGINT", 255], ["SIGKILL", 137]] as const) {
    await t.step(`omerta ssh that is ended by ${signal} ends its ssh`, async () => {
      const child = borrower.spawn(["ssh", "web", "echo up; read line"], {
        ...{ stdin: "piped", stdout: "piped", stderr: "null" },
      });
      const reader = child.stdout.getReader();
      assert.equal(new TextDecoder().decode((await reader.read()).value), "up\n");
      try {
        child.kill(signal);
        await until(async () => !await isRunning("ssh"), { what: "ssh to end" });
        assert.equal((await reader.read()).done, true, "ssh holds its output");
      } finally {
        await child.stdin.close(); // ends a session that is left
        await reader.cancel();
        assert.equal((await child.status).code, code);
      }
    });
  }

  await t.step("omerta cp that is killed ends its scp", async () => {
    await borrower.ok("ssh", "web", "truncate -s 100G large");
    const child = borrower.spawn(["cp", "web:large", "/dev/null"], {
      ...{ stdin: "null", stdout: "null", stderr: "null" },
    });
    await until(() => isRunning("scp"), { what: "scp to run" });
    child.kill("SIGKILL");
    await child.status;
    await until(async () => !await isRunning("scp"), { what: "scp to end" });
  });

  await t.step("omerta ssh waits for a greeting as long as the user says", async () => {
    const impatient = ["-o", "ConnectTimeout=1", "-p", `${SILENT_PORT}`, "web"];
    const { code, stderr } = await borrower.run(["ssh", ...impatient]);
    assert.equal(code, 255);
    assert.match(stderr, /timed out during banner exchange/);
  });

  await t.step("only the host key that the lender announced is taken", async () => {
    const args = ["ssh", "-p", `${IMPOSTOR_PORT}`, "web", "true"];
    const { code, stderr } = await borrower.run(args);
    assert.equal(code, 255);
    assert.match(stderr, /REMOTE HOST IDENTIFICATION HAS CHANGED/);
    // No option lets another one in, and the user's own file stays as it was.
    const forced = ["ssh", "-o", "StrictHostKeyChecking=no", ...args.slice(1)];
    assert.equal((await borrower.run(forced)).code, 255);
    const known = await Deno.readTextFile(borrower.paths.knownHosts);
    assert.equal(known.trim().split("\n").length, 1);
  });

  await t.step("scp with omerta nc as its ProxyCommand, and omerta cp", async () => {
    await ok("echo made here >file");
    await ok(`scp -F ${config} -o ProxyCommand='omerta nc %h %p' file omerta@web:`);
    assert.equal(await borrower.ok("ssh", "web", "cat file"), "made here\n");
    await ok(`scp -F ${config} web:file back; cmp file back`);
    await ok("omerta cp file 10.0.0.2:again; omerta cp omerta@web:again again; cmp file again");
  });

  await t.step("a session by omerta nc ends when the VM ends it", async () => {
    const session = shell(`ssh -tt -F ${config} web 'echo $PPID >server; exec sleep 600'`);
    const server = await until(
      async () => Number((await borrower.run(["ssh", "web", "cat server"])).stdout),
      { what: "the session to begin" },
    );
    Deno.kill(server, "SIGKILL");
    assert.equal((await session).code, 255);
  });

  await t.step("a home whose name means something to ssh and to a shell", async () => {
    const home = join(folder, `it's 100%h \\"x" $y`);
    await Deno.symlink(borrower.path, home);
    const env = { OMERTA_HOME: home };
    const there = async (...args: string[]): Promise<string> => {
      const { code, stdout, stderr } = await borrower.run(args, { env });
      assert.equal(code, 0, stderr);
      return stdout;
    };
    assert.equal(await there("ssh", "web", "id -un"), "omerta\n");
    await there("cp", "web:file", join(folder, "by cp"));
    const own = join(folder, "own_config");
    await Deno.writeTextFile(own, await there("ssh-config", "web"), { mode: 0o644 });
    assert.equal(await ok(`cmp file 'by cp'; ssh -F ${own} web id -un`), "omerta\n");
  });

  await t.step("rsync and git by ssh-config", async () => {
    await ok("mkdir -p tree/deep; seq 100000 >tree/deep/numbers; ln -s deep/numbers tree/link");
    const rsync = `rsync -a --delete -e 'ssh -F ${config}'`;
    await ok(`${rsync} tree/ web:tree/; ${rsync} web.omerta:tree/ copy/; diff -r tree copy`);
    await ok(`rm tree/link; ${rsync} tree/ web:tree/`);
    assert.equal(await borrower.ok("ssh", "web", "ls tree"), "deep\n");
    await borrower.ok("ssh", "web", "git init -q --bare -b main repo.git");
    await ok("git init -q -b main work; cd work; cp ../file .; git add file; git commit -qm first");
    await ok("cd work; git remote add vm web:repo.git; git push -q vm main");
    await ok("git clone -q omerta@web.omerta:repo.git clone; cmp file clone/file");
  });

  await t.step("G6: ssh, and a jump, through a forward", async () => {
    await borrower.ok("forward", "2222:10.0.0.2:22", "--background");
    assert.equal(await ok(`ssh -F ${config} -p 2222 localhost id -un`), "omerta\n");
    const jump = `ssh -F ${config} -J localhost:2222 10.0.0.2`;
    assert.equal(await ok(`${jump} 'echo $SSH_CLIENT | cut -d" " -f1'`), "10.0.0.2\n");
    const [first, second] = await Promise.all(
      ["one", "two"].map((word) => ok(`${jump} echo ${word}`)),
    );
    assert.deepEqual([first, second], ["one\n", "two\n"]);
    assert.equal((await shell(`${jump} exit 9`)).code, 9);
  });

  assert.equal((await machine.run("ip", ["route", "get", "10.0.0.2"])).code, 2);
});
