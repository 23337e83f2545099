import assert from "node:assert/strict";
import { commandMissing, testIf } from "../../tests/support/requires.ts";
import { run, runChecked } from "../core/process.ts";
import { sshCommandLine, sshOptions } from "./known_hosts.ts";

const VM = { id: "0123456789abcdef", address: "10.0.0.2" };
/** Paths that ssh, or a shell, would read as something else. */
const PATHS = ["/home/me/.omerta/x", "/tmp/100%h %% %", '/tmp/a "b" c', "/tmp/a\\b\\\"'c $HOME #"];

for (const path of PATHS) {
  testIf(commandMissing("ssh"), `L10: ssh reads the settings with ${path} in them`, async () => {
    const keyPath = `${path}/key`;
    const knownHostsPath = `${path}/known`;
    const options = sshOptions(VM, keyPath, knownHostsPath, { command: "false", handsOver: false });
    const target = ["-F", "/dev/null", VM.address];
    const { stdout } = await runChecked("ssh", ["-G", ...options, ...target]);
    assert.ok(stdout.split("\n").includes(`userknownhostsfile ${knownHostsPath}`), stdout);
    // It replaces this one only when it connects. Its log shows a backslash as two.
    const { stderr } = await run("ssh", ["-v", ...options, ...target]);
    const shown = `debug1: identity file ${keyPath.replaceAll("\\", "\\\\")} type -1`;
    assert.ok(stderr.split(/\r?\n/).includes(shown), stderr);
    const line = sshCommandLine(VM, keyPath, knownHostsPath);
    const printed = await runChecked("sh", ["-c", line.replace("ssh", "ssh -G -F /dev/null")]);
    assert.ok(printed.stdout.split("\n").includes(`userknownhostsfile ${knownHostsPath}`), line);
  });
}
