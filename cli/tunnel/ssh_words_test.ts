import assert from "node:assert/strict";
import { commandMissing, testIf } from "../../tests/support/requires.ts";
import { runChecked } from "../../lib/core/process.ts";
import { parseSshWords, sshArguments, type SshWords } from "./ssh_words.ts";

const cases: [string[], Partial<SshWords>][] = [
  [["web"], { vm: "web" }],
  [["root@10.0.0.2", "uname", "-a"], { user: "root", vm: "10.0.0.2", command: ["uname", "-a"] }],
  [["a@b@web"], { user: "a@b", vm: "web" }],
  [["-vt", "web", "-T", "top", "-b"], {
    ...{ options: ["-vt"], vm: "web", more: ["-T"], command: ["top", "-b"] },
  }],
  [["web", "-l", "root", "-tt", "id", "-l"], {
    ...{ vm: "web", more: ["-l", "root", "-tt"], command: ["id", "-l"] },
  }],
  [["-L", "1:x:2", "-N", "web"], { options: ["-L", "1:x:2", "-N"], vm: "web" }],
  [["-NL", "1:x:2", "web"], { options: ["-NL", "1:x:2"], vm: "web" }],
  [["-L1:x:2", "web"], { options: ["-L1:x:2"], vm: "web" }],
  [["-p22", "-oA=b", "--", "web", "--", "ls"], {
    options: ["-p22", "-oA=b"],
    vm: "web",
    command: ["--", "ls"],
  }],
  [["web", "-v", "--", "-x", "--"], { vm: "web", more: ["-v"], command: ["-x", "--"] }],
  [["--", "web", "-x"], { vm: "web", command: ["-x"] }],
];

for (const [words, wanted] of cases) {
  Deno.test(`L10: parseSshWords() reads ${words.join(" ")} as ssh does`, () => {
    const all = { options: [], user: undefined, more: [], command: [], ...wanted };
    assert.deepEqual(parseSshWords(words), all);
  });
}

Deno.test("L10: parseSshWords() wants a VM, and a user that is none of ssh's options", () => {
  for (const words of [[], ["-v"], ["-L", "web"], ["--"], ["-v", "--"]]) {
    assert.throws(() => parseSshWords(words), { code: "no-vm", exit: 2 });
  }
  for (const words of [["--", "-oX@web"], ["@web"]]) {
    assert.throws(() => parseSshWords(words), { code: "bad-user", exit: 2 });
  }
  for (const words of [["--help"], ["-v", "--help"], ["--", "-oX"], ["a@-oX"]]) {
    assert.throws(() => parseSshWords(words), { code: "bad-vm", exit: 2 });
  }
});

Deno.test("L10: parseSshWords() wants the value of an option: what stands behind is none", () => {
  for (const words of [["-L"], ["web", "-v", "-No"]]) {
    assert.throws(() => parseSshWords(words), { code: "bad-option", exit: 2 });
  }
});

/** Words, and settings that ssh then goes by. */
const settings: [string[], string[]][] = [
  [["web"], ["user omerta", "connecttimeout 60", "serveraliveinterval 15"]],
  [["root@web", "-l", "other"], ["user root"]],
  [["web", "-l", "root"], ["user root"]],
  [["-l", "a", "web", "-l", "b"], ["user a"]],
  [["web", "-o", "User=root", "-o", "ConnectTimeout=5", "id"], ["user root", "connecttimeout 5"]],
  [["-o", "ServerAliveInterval=5", "web", "-tt", "id", "-l"], [
    ...["user omerta", "serveraliveinterval 5", "requesttty force"],
  ]],
  [["--", "web", "-l", "root"], ["user omerta"]],
];

for (const [words, wanted] of settings) {
  testIf(commandMissing("ssh"), `L10: ssh itself reads ${words.join(" ")} so`, async () => {
    const args = sshArguments(parseSshWords(words), "10.0.0.2");
    const { stdout } = await runChecked("ssh", ["-G", "-F", "/dev/null", ...args]);
    const found = stdout.split("\n");
    for (const setting of ["hostname 10.0.0.2", ...wanted]) {
      assert.ok(found.includes(setting), `${setting}: ${stdout}`);
    }
  });
}
