import assert from "node:assert/strict";
import { join } from "node:path";
import { NetLab, netlabMissing } from "../netlab/netlab.ts";
import { commandMissing, testIf } from "../support/requires.ts";
import { run, type RunResult } from "../../lib/core/process.ts";

const ROOT = join(import.meta.dirname ?? ".", "..", "..");
const toolsMissing = commandMissing("bash", "tar", "gzip");

let folder = "";
let outcome: RunResult | undefined;

Deno.test.beforeAll(async () => {
  if (toolsMissing !== undefined) return;
  folder = await Deno.makeTempDir({ prefix: "omerta-dist-" });
  outcome = await build("--output", folder);
});

Deno.test.afterAll(async () => {
  if (folder !== "") await Deno.remove(folder, { recursive: true });
});

async function build(...args: string[]): Promise<RunResult> {
  return await run(Deno.execPath(), ["run", "-A", join(ROOT, "scripts", "build.ts"), ...args], {
    timeoutMs: 240_000,
  });
}

/** An environment with a home of its own and no Deno on PATH. */
function environment(home: string): Record<string, string> {
  return {
    PATH: "/usr/sbin:/usr/bin:/sbin:/bin",
    XDG_CACHE_HOME: join(folder, "cache"),
    OMERTA_HOME: join(folder, home),
    NO_COLOR: "1",
  };
}

/** Starts a built file where no Deno is on PATH. */
async function start(name: string, ...args: string[]): Promise<RunResult> {
  return await run(join(folder, name), args, { env: environment("home") });
}

testIf(toolsMissing, "F1: the build ends with a working file and says in which form", async () => {
  assert.equal(outcome?.code, 0, outcome?.stdout);
  assert.match(outcome.stdout.trim().split("\n").at(-1) ?? "", /\((compiled|self-extracting)\)$/);
  const names = (await Array.fromAsync(Deno.readDir(folder))).map(({ name }) => name);
  assert.deepEqual(names.sort(), ["omerta", "omertad"]);
});

testIf(toolsMissing, "F1: omerta runs with no Deno on PATH", async () => {
  const { code, stdout, stderr } = await start("omerta", "--version");
  assert.equal(code, 0, stderr);
  assert.match(stdout, /^omerta \d+\.\d+\.\d+ \((compiled|self-extracting)\)\n$/);
});

testIf(toolsMissing, "F1: omertad answers to its own name", async () => {
  const { code, stdout, stderr } = await start("omertad", "--version");
  assert.equal(code, 0, stderr);
  assert.match(stdout, /^omertad \d+\.\d+\.\d+ /);
});

testIf(toolsMissing, "F1: omerta makes a home", async () => {
  const { code, stderr } = await start("omerta", "init");
  assert.equal(code, 0, stderr);
  assert.equal(((await Deno.stat(join(folder, "home", "config.json"))).mode ?? 0) & 0o777, 0o600);
});

testIf(
  netlabMissing ?? toolsMissing,
  "F1: the file lends and borrows, dry, with no Deno",
  async () => {
    await using lab = await NetLab.create();
    const machine = await lab.namespace("both");
    const omerta = async (home: string, ...args: string[]): Promise<string> => {
      const options = { env: environment(home) };
      return (await machine.runChecked(join(folder, "omerta"), args, options)).stdout;
    };
    await omerta("lender", "init");
    await omerta("borrower", "init");
    const daemon = machine.spawn(join(folder, "omertad"), ["--dry-run", "--port", "51999"], {
      env: environment("lender"),
      stdout: "piped",
    });
    let welcome = "";
    const words = daemon.stdout.pipeThrough(new TextDecoderStream());
    for await (const text of words.values({ preventCancel: true })) {
      welcome += text;
      if (welcome.includes("Ctrl-C ends it")) break;
    }
    assert.match(welcome, /Mesh provider daemon started/);
    await omerta("borrower", "key", "import", (await omerta("lender", "key", "share")).trim());
    const provider = /host=([^&]*)/.exec(welcome)?.[1] ?? "";
    const request = ["vm", "request", "--provider", `${provider}:51999`, "--name", "web"];
    // The borrower's daemon is started by the file itself, in the background.
    assert.match(await omerta("borrower", ...request, "--dry-run"), /the lender accepted/);
    assert.match(await omerta("borrower", "vm", "list"), /web/);
    await omerta("borrower", "vm", "release", "web");
    await omerta("borrower", "daemon", "stop");
    await omerta("lender", "daemon", "stop");
    await words.cancel();
    assert.equal((await daemon.status).code, 0);
    assert.deepEqual(await machine.processes(), []);
  },
);

testIf(toolsMissing, "F1: --compiled-only compiles, or fails and leaves nothing", async () => {
  const output = join(folder, "compiled");
  const { code, stdout } = await build("--compiled-only", "--output", output);
  const names = (await Array.fromAsync(Deno.readDir(output))).map(({ name }) => name);
  if (code === 0) {
    assert.match(stdout, /\(compiled\)$/m);
  } else {
    assert.match(stdout, /Cannot build for/);
    assert.match(stdout, /base binar/);
    assert.deepEqual(names, []);
  }
});

Deno.test.each([
  { args: ["--target", "sparc-sun-solaris"], want: /Cannot build for sparc-sun-solaris: want all/ },
  { args: ["--self-extracting", "--compiled-only"], want: /Cannot build: --self-extracting/ },
])("F1: the build refuses $args", async ({ args, want }) => {
  const { code, stdout } = await build(...args);
  assert.equal(code, 1);
  assert.match(stdout, want);
});
