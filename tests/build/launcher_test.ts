import assert from "node:assert/strict";
import { join } from "node:path";
import { makeSelfExtracting } from "../../scripts/self_extracting.ts";
import { commandMissing, rootMissing, testIf } from "../support/requires.ts";

const ROOT = join(import.meta.dirname ?? ".", "..", "..");
const toolsMissing = commandMissing("bash", "tar", "gzip");

let folder = "";
let file = "";

Deno.test.beforeAll(async () => {
  if (toolsMissing !== undefined) return;
  folder = await Deno.makeTempDir({ prefix: "omerta launcher's " });
  file = join(folder, "omerta");
  await makeSelfExtracting(ROOT, file, "tests/build/echo_program.ts");
});

Deno.test.afterAll(async () => {
  if (folder !== "") await Deno.remove(folder, { recursive: true });
});

/** A cache of its own for one test. */
async function newCache(): Promise<string> {
  return await Deno.makeTempDir({ dir: folder, prefix: "cache-" });
}

interface Outcome {
  code: number;
  stdout: string;
  stderr: string;
}

/** Starts the file with nothing in its environment but `env`, and no program on PATH. */
async function start(
  program: string,
  args: string[],
  env: Record<string, string>,
  input = "",
): Promise<Outcome> {
  const child = new Deno.Command(program, {
    args,
    env: { PATH: "/nonexistent", ...env },
    clearEnv: true,
    stdin: "piped",
    stdout: "piped",
    stderr: "piped",
  }).spawn();
  const writer = child.stdin.getWriter();
  await writer.write(new TextEncoder().encode(input)).catch(() => {}); // it may not read at all
  await writer.close().catch(() => {});
  const { code, stdout, stderr } = await child.output();
  const text = new TextDecoder();
  return { code, stdout: text.decode(stdout), stderr: text.decode(stderr) };
}

/** The one unpacked program in a cache. */
async function unpackedIn(cache: string): Promise<string> {
  const names: string[] = [];
  for await (const { name } of Deno.readDir(cache)) {
    if (name !== "deno") names.push(name);
  }
  assert.equal(names.length, 1, `want one folder in ${cache}, got: ${names.join(", ")}`);
  return join(cache, names[0] ?? "");
}

testIf(
  toolsMissing,
  "F1: the file passes arguments, input, exit code, PATH and name on",
  async () => {
    const cache = await newCache();
    const args = [
      "",
      " a  b ",
      "--",
      "-x",
      "--version",
      "'\"$HOME`\\",
      "line\nbreak",
      "*",
      "größe",
    ];
    const { code, stdout, stderr } = await start(
      file,
      args,
      { XDG_CACHE_HOME: cache },
      "some input",
    );
    assert.equal(code, 7, stderr);
    const { path, ...report } = JSON.parse(stdout);
    // The runtime puts a folder of its own in front.
    assert.match(path, /(^|:)\/nonexistent$/);
    assert.deepEqual(report, {
      args,
      name: "omerta",
      form: "self-extracting",
      self: file,
      unstableNet: "function",
      worker: "from the worker",
      input: "some input",
    });
    assert.equal(stderr, "");
  },
);

testIf(
  toolsMissing,
  "F1: the file started by a link called omertad goes by that name",
  async () => {
    const cache = await newCache();
    await Deno.symlink("omerta", join(folder, "omertad"));
    await Deno.symlink(join(folder, "omertad"), join(cache, "omertad"));
    const { stdout, stderr } = await start(join(cache, "omertad"), [], { XDG_CACHE_HOME: cache });
    const { name, self } = JSON.parse(stdout || stderr);
    assert.deepEqual({ name, self }, { name: "omertad", self: file });
  },
);

testIf(toolsMissing, "F1: the file lets signals reach the program", async () => {
  const child = new Deno.Command(file, {
    args: ["wait"],
    env: { XDG_CACHE_HOME: await newCache() },
    stdin: "null",
    stdout: "piped",
  }).spawn();
  const reader = child.stdout.getReader();
  assert.equal(new TextDecoder().decode((await reader.read()).value), "waiting\n");
  child.kill("SIGTERM");
  assert.equal((await child.status).code, 15);
  await reader.cancel();
});

testIf(toolsMissing, "F1: a damaged cache is rebuilt", async (t) => {
  const cache = await newCache();
  const env = { XDG_CACHE_HOME: cache };
  assert.equal((await start(file, [], env)).code, 7);
  const unpacked = await unpackedIn(join(cache, "omerta"));
  const damages: Record<string, () => Promise<void>> = {
    "a changed byte of the program": async () => {
      const path = join(unpacked, "omerta.mjs");
      const before = await Deno.stat(path);
      const text = await Deno.readTextFile(path);
      await Deno.writeTextFile(path, text.replace("from the worker", "from an intruder"));
      await Deno.utime(path, before.atime ?? 0, before.mtime ?? 0);
    },
    "a runtime cut short": () => Deno.truncate(join(unpacked, "deno"), 1_000_000),
    "a missing program": () => Deno.remove(join(unpacked, "omerta.mjs")),
    "a missing folder": () => Deno.remove(unpacked, { recursive: true }),
    "a runtime that may not be run": () => Deno.chmod(join(unpacked, "deno"), 0o600),
  };
  for (const [name, damage] of Object.entries(damages)) {
    await t.step(name, async () => {
      await damage();
      const { code, stdout, stderr } = await start(file, [], env);
      assert.equal(code, 7, stderr);
      assert.equal(JSON.parse(stdout).worker, "from the worker");
      await unpackedIn(join(cache, "omerta"));
    });
  }
});

testIf(toolsMissing, "F1: first starts at once do not disturb each other", async () => {
  const cache = await newCache();
  const outcomes = await Promise.all(
    [1, 2, 3].map((n) => start(file, [String(n)], { XDG_CACHE_HOME: cache })),
  );
  for (const [i, { code, stdout, stderr }] of outcomes.entries()) {
    assert.equal(code, 7, stderr);
    assert.deepEqual(JSON.parse(stdout).args, [String(i + 1)]);
  }
  await unpackedIn(join(cache, "omerta"));
});

testIf(toolsMissing, "F1: what is unpacked is for its user only", async () => {
  const cache = await newCache();
  await start(file, [], { XDG_CACHE_HOME: cache });
  const unpacked = await unpackedIn(join(cache, "omerta"));
  for (const path of [join(cache, "omerta"), unpacked]) {
    assert.equal(((await Deno.stat(path)).mode ?? 0) & 0o777, 0o700, path);
  }
});

testIf(toolsMissing, "F1: a damaged file says so and leaves nothing behind", async () => {
  const cache = await newCache();
  const damaged = join(cache, "omerta-damaged");
  const bytes = await Deno.readFile(file);
  const at = bytes.length - 1_000_000;
  bytes[at] = (bytes[at] ?? 0) ^ 1;
  await Deno.writeFile(damaged, bytes, { mode: 0o755 });
  const { code, stderr } = await start(damaged, [], { XDG_CACHE_HOME: cache });
  assert.equal(code, 1);
  assert.match(stderr, /is damaged|Cannot unpack/);
  assert.deepEqual(await Array.fromAsync(Deno.readDir(join(cache, "omerta"))), []);
});

testIf(
  toolsMissing,
  "F1: the file unpacks below HOME or OMERTA_HOME, or says why it cannot",
  async () => {
    const home = await newCache();
    assert.equal((await start(file, [], { HOME: home })).code, 7);
    await unpackedIn(join(home, ".cache", "omerta"));
    assert.equal((await start(file, [], { OMERTA_HOME: home })).code, 7);
    await unpackedIn(join(home, "run"));
    const { code, stderr } = await start(file, [], {});
    assert.equal(code, 3);
    assert.match(stderr, /no folder of this user's own/);
  },
);

testIf(
  rootMissing ?? toolsMissing,
  "F1: the file is never run from somebody else's folder",
  async () => {
    const [theirs, own] = [await newCache(), await newCache()];
    await Deno.mkdir(join(theirs, "omerta"));
    await Deno.chown(join(theirs, "omerta"), 65534, 65534);
    assert.equal((await start(file, [], { XDG_CACHE_HOME: theirs, OMERTA_HOME: own })).code, 7);
    assert.deepEqual(await Array.fromAsync(Deno.readDir(join(theirs, "omerta"))), []);
    await unpackedIn(join(own, "run"));
  },
);
