import assert from "node:assert/strict";
import { parseSshWords, type SshWords } from "./ssh_words.ts";

const cases: [string[], Partial<SshWords>][] = [
  [["web"], { vm: "web" }],
  [["root@10.0.0.2", "uname", "-a"], { user: "root", vm: "10.0.0.2", rest: ["uname", "-a"] }],
  [["a@b@web"], { user: "a@b", vm: "web" }],
  [["-vt", "web", "-T", "top"], { options: ["-vt"], vm: "web", rest: ["-T", "top"] }],
  [["-L", "1:x:2", "-N", "web"], { options: ["-L", "1:x:2", "-N"], vm: "web" }],
  [["-NL", "1:x:2", "web"], { options: ["-NL", "1:x:2"], vm: "web" }],
  [["-L1:x:2", "web"], { options: ["-L1:x:2"], vm: "web" }],
  [["-p22", "-oA=b", "--", "web", "--", "ls"], {
    options: ["-p22", "-oA=b"],
    vm: "web",
    rest: ["--", "ls"],
  }],
];

for (const [words, wanted] of cases) {
  Deno.test(`L10: parseSshWords() reads ${words.join(" ")} as ssh does`, () => {
    const all = { options: [], user: undefined, rest: [], ...wanted };
    assert.deepEqual(parseSshWords(words), all);
  });
}

Deno.test("L10: parseSshWords() wants a VM, and a user that is none of ssh's options", () => {
  for (const words of [[], ["-v"], ["-L", "web"], ["--"]]) {
    assert.throws(() => parseSshWords(words), { code: "no-vm", exit: 2 });
  }
  for (const words of [["--", "-oX@web"], ["@web"]]) {
    assert.throws(() => parseSshWords(words), { code: "bad-user", exit: 2 });
  }
});
