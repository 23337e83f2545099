import assert from "node:assert/strict";
import { join } from "node:path";
import fc from "fast-check";
import { run } from "../../lib/core/process.ts";
import { jobCommand, prepareCommand, scpPath } from "./remote_command.ts";

/** Characters that mean something to a shell, and some that do not. */
const character = fc.oneof(
  fc.constantFrom(..."'\"\\$`!*?[]{}()<>|&;#~=%^ \t\r\n\v-aé日🦊"),
  fc.string({ unit: "binary", minLength: 1, maxLength: 1 }),
);
/** A word that a process can be given: no NUL. */
const word = fc.array(character, { maxLength: 12 }).map((parts) =>
  parts.join("").replaceAll("\0", "")
);

/** Runs a command line with `sh -c` in a home with a job's folder, as sshd does. */
async function inShell(line: string, input = ""): Promise<{ code: number; stdout: string }> {
  const home = await Deno.makeTempDir({ prefix: "omerta-job-" });
  try {
    await Deno.mkdir(join(home, "job"));
    return await run("sh", ["-c", line], { cwd: home, input });
  } finally {
    await Deno.remove(home, { recursive: true });
  }
}

Deno.test("jobCommand() hands words and environment over exactly, whatever is in them", async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(word, { maxLength: 5 }), word, async (words, value) => {
      const line = jobCommand({
        work: {
          kind: "command",
          words: ["sh", "-c", 'printf "%s\\0" "$OMERTA_X" "$@"', "sh", ...words],
        },
        env: [["OMERTA_X", value]],
      });
      const { code, stdout } = await inShell(line);
      assert.equal(code, 0);
      assert.deepEqual(stdout.split("\0").slice(0, -1), [value, ...words]);
    }),
    { numRuns: 60 },
  );
});

Deno.test("jobCommand() passes exit codes on, and those of signals as 128 and more", async () => {
  const exits = (...words: string[]): Promise<{ code: number }> =>
    inShell(jobCommand({ work: { kind: "command", words }, env: [] }));
  assert.equal((await exits("true")).code, 0);
  assert.equal((await exits("sh", "-c", "exit 7")).code, 7);
  assert.equal((await exits("sh", "-c", "kill -9 $$")).code, 137);
  assert.equal((await exits("")).code, 127);
  assert.equal((await exits("if")).code, 127);
});

Deno.test("jobCommand() refuses what no process can be given", () => {
  const words = ["x".repeat(128 * 1024)];
  assert.throws(() => jobCommand({ work: { kind: "command", words }, env: [] }), {
    code: "command-too-long",
  });
});

Deno.test("prepareCommand() writes a script that jobCommand() runs", async () => {
  const text = "printf '%s|' \"$0\" \"$(cat)\" 'a b'\n";
  const job = { work: { kind: "script", language: "bash", text }, env: [] } as const;
  const both = `${prepareCommand(job)} <<'END'\n${text}END\n${jobCommand({ ...job, env: [] })}`;
  const { stdout, code } = await inShell(both, "from stdin");
  assert.equal(code, 0);
  assert.equal(stdout, ".omerta-script.sh|from stdin|a b|");
});

Deno.test("scpPath() is below the job's folder and no pattern", () => {
  assert.equal(scpPath("out/a.txt"), "job/out/a.txt");
  assert.equal(scpPath("/etc/hostname"), "/etc/hostname");
  assert.equal(scpPath("~/a*[b]?\\{c}"), "job/~/a\\*\\[b\\]\\?\\\\\\{c\\}");
});
