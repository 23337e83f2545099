import assert from "node:assert/strict";
import { runMmdebstrap } from "./_mmdebstrap.ts";

/** What mmdebstrap 1.3 says when a hook of several lines fails. */
const FAILED_HOOK = `I: installing essential packages...
I: running --customize-hook in shell: sh -c 'set -e
cp cause there
' exec /tmp/root
W: something is odd
cp: cannot stat 'cause': No such file or directory
E: setup failed: E: command failed: set -e
cp cause there
a
b
c
d
I: main() received signal PIPE: waiting for setup...
I: removing tempdir /tmp/root...
E: mmdebstrap failed to run
`;

async function fails(words: string): Promise<string> {
  const lines: string[] = [];
  try {
    await runMmdebstrap("sh", ["-c", "cat >&2; exit 25"], {
      ...{ input: words, env: {}, timeoutMs: 10_000 },
      onLine: (line) => lines.push(line),
    });
  } catch (error) {
    assert.ok(error instanceof Error);
    assert.deepEqual(lines, words.trim().split("\n"));
    return error.message;
  }
  assert.fail("it did not fail");
}

Deno.test("runMmdebstrap() quotes why a hook failed, not the hook", async () => {
  const message = await fails(FAILED_HOOK);
  assert.match(message, /^Cannot run sh: exit code 25: /);
  assert.match(message, /cannot stat 'cause': No such file or directory$/);
});

Deno.test("runMmdebstrap() quotes what there is when nothing was said before", async () => {
  assert.match(
    await fails("I: begin\nE: setup failed: E: no room\n"),
    /: E: setup failed: E: no room$/,
  );
});
