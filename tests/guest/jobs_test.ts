import assert from "node:assert/strict";
import { createHash, randomBytes } from "node:crypto";
import { join } from "node:path";
import { netlabMissing } from "../netlab/netlab.ts";
import { commandMissing, testIf } from "../support/requires.ts";
import { LENDER, shareLink, type TwoMachines, twoMachines } from "../support/two_machines.ts";
import { until } from "../support/until.ts";

const missing = netlabMissing ?? commandMissing("qemu-system-x86_64", "qemu-img", "ssh", "scp");

/** Time for a job in a translated guest on a busy host, in ms. */
const JOB_MS = 400_000;

/** A lender that lends three processors, and a borrower that has its link. */
async function ready(): Promise<TwoMachines> {
  const world = await twoMachines();
  const { lender } = world;
  await lender.shareImages();
  const config: { lend: Record<string, unknown> } = JSON.parse(
    await Deno.readTextFile(lender.paths.config),
  );
  config.lend = { ...config.lend, cpus: 3 };
  await Deno.writeTextFile(lender.paths.config, JSON.stringify(config));
  await lender.startDaemon();
  await shareLink(world);
  return world;
}

/** Nothing of any VM is there, on either side. */
async function assertNothingLeft({ lender, borrower }: TwoMachines): Promise<void> {
  const { borrowed, lent } = await lists(borrower);
  assert.deepEqual(borrowed, []);
  assert.deepEqual(lent, []);
  await until(async () => (await lender.vmFolders()).length === 0, {
    timeoutMs: 30_000,
    what: "the VM's folder to go",
  });
  assert.deepEqual((await lists(lender)).lent, []);
  assert.deepEqual((await lender.processes()).filter((line) => line.includes("qemu")), []);
}

async function lists(
  home: TwoMachines["lender"],
): Promise<{ borrowed: { id: string; name: string }[]; lent: unknown[] }> {
  return JSON.parse(await home.ok("vm", "list", "--json"));
}

const sha256 = (bytes: Uint8Array): string => createHash("sha256").update(bytes).digest("hex");

testIf(
  missing,
  "U7: run takes files and streams in and out and passes the exit code on",
  async () => {
    await using world = await ready();
    const { borrower } = world;
    const folder = join(borrower.path, "..", "work");
    await Deno.mkdir(join(folder, "data", "deep"), { recursive: true });
    const content = new Uint8Array(randomBytes(3_000_000));
    await Deno.writeFile(join(folder, "data", "deep", "in bytes"), content);
    await Deno.writeTextFile(join(folder, "tool"), "#!/bin/sh\necho from the tool\n", {
      mode: 0o755,
    });

    const script = `
    printf '[%s]' "$@" "$OMERTA_X"; echo; cat; ./tool
    echo 'to stderr' >&2
    sha256sum <'data/deep/in bytes'
    mkdir -p result; tac 'data/deep/in bytes' >'result/o*[u]t $x'; sha256sum <'result/o*[u]t $x'
    echo one >'a:b'; echo two >'odd *name'
    exit 7`;
    const awkward = ["a b", "it's", '"$HOME"', "new\nline", "é🦊", "", "*", "\\"];
    const result = await borrower.run(
      [
        ...["run", "--provider", LENDER, "--cpu", "2", "--env", "OMERTA_X=x 'y' $z"],
        ...["--input", join(folder, "data"), "--input", join(folder, "tool")],
        ...["--output", `result:${join(folder, "back")}`],
        ...["--output", `odd *name:${folder}`, "--output", `missing:${folder}`],
        ...["--", "bash", "-c", script, "bash", ...awkward],
      ],
      { timeoutMs: JOB_MS, input: "through stdin\n" },
    );
    assert.equal(result.code, 7, result.stderr);
    const back = await Deno.readFile(join(folder, "back", "o*[u]t $x"));
    assert.equal(
      result.stdout,
      [...awkward, "x 'y' $z"].map((word) => `[${word}]`).join("") +
        `\nthrough stdin\nfrom the tool\n${sha256(content)}  -\n${sha256(back)}  -\n`,
    );
    assert.match(result.stderr, /^Provider reachable: [^]*^ {2}ready +[0-9.]+ s$[^]*^to stderr$/m);
    assert.match(result.stderr, /^Warning: Cannot copy .*missing.*No such file/m);
    assert.match(result.stderr, /^Released vm-[0-9a-f]{6}$/m);
    assert.equal(await Deno.readTextFile(join(folder, "odd *name")), "two\n");
    await assertNothingLeft(world);
  },
);

testIf(missing, "U7: submit runs a script in the background, job shows it", async () => {
  await using world = await ready();
  const { borrower } = world;
  const folder = join(borrower.path, "..", "work");
  await Deno.mkdir(folder);
  await Deno.writeTextFile(join(folder, "helper.py"), "ANSWER = 42\n");
  const script = join(folder, "job.py");
  await Deno.writeTextFile(
    script,
    `import helper, sys
print("answer", helper.ANSWER, sys.version_info.major, repr(sys.stdin.read()))
print("to stderr", file=sys.stderr)
open("result.bin", "wb").write(bytes(range(256)))
sys.stdout.write("x" * (20 << 20))
sys.exit(3)
`,
  );
  const submit = (...more: string[]): Promise<string> =>
    borrower.ok(
      ...["submit", "--provider", LENDER, "--script", `@${script}`, "--language", "python"],
      ...["--input", join(folder, "helper.py"), "--create-vpn", ...more],
    );
  const id = (await submit("--description", "the answer", "--output", `result.bin:${folder}`))
    .trim();
  assert.match(id, /^[0-9a-f]{8}$/);
  assert.match(await borrower.ok("job", "list"), new RegExp(`${id} +starting .* the answer\n$`));
  const job = async (which: string): Promise<{ state: string; exitCode?: number }> =>
    JSON.parse(await borrower.ok("job", "show", which, "--json"));
  await until(async () => !/starting|running/.test((await job(id)).state), {
    timeoutMs: JOB_MS,
    what: "the job to end",
  });
  const shown = await borrower.ok("job", "show", id.slice(0, 6));
  assert.match(shown, /^state +done\nexit code +3$/m, shown);
  assert.match(shown, /^not kept +4\.0 MiB of its output$/m);
  assert.match(shown, /^ {2}ready +[0-9.]+ s$[^]*^Released vm-/m);
  const logs = await borrower.run(["job", "logs", id]);
  assert.ok(logs.stdout.startsWith("answer 42 3 ''\nxxx"), logs.stdout.slice(0, 100));
  assert.equal(logs.stdout.length, 16 << 20);
  assert.match(logs.stderr, /^to stderr\n4\.0 MiB more were not kept\n$/);
  assert.deepEqual(
    await Deno.readFile(join(folder, "result.bin")),
    Uint8Array.from({ length: 256 }, (_, i) => i),
  );
  assert.match(await borrower.ok("job", "stop", id), /had ended already: done/);
  await assertNothingLeft(world);

  const second = (await submit()).trim();
  await until(async () => /^ {2}kernel /m.test(await borrower.ok("job", "show", second)), {
    timeoutMs: JOB_MS,
    what: "the second job's VM to boot",
  });
  assert.equal(await borrower.ok("job", "stop", second), `Job ${second}: stopped\n`);
  assert.match(await borrower.ok("job", "show", second), /^error +Cannot finish: interrupted$/m);
  await assertNothingLeft(world);
});

testIf(
  missing,
  "U7: a job that is interrupted, killed or left by its lender leaves no VM",
  async () => {
    await using world = await ready();
    const { lender, borrower } = world;
    const start = (name: string): Deno.ChildProcess =>
      borrower.spawn([
        ...["execute", "--provider", LENDER, "--name", name, "--memory", "512"],
        ...["--language", "bash", "--script", "echo started; exec sleep 3600"],
      ], { stdin: "null", stdout: "piped", stderr: "piped" });
    const interrupted = start("interrupted");
    await using words = linesOf(interrupted);
    await using killed = linesOf(start("killed"));
    await using left = linesOf(start("left"));
    await Promise.all([words, killed, left].map(({ started }) => started));
    const names = async (): Promise<string[]> =>
      (await lists(borrower)).borrowed.map(({ name }) => name).sort();
    assert.deepEqual(await names(), ["interrupted", "killed", "left"]);

    interrupted.kill("SIGINT");
    assert.match(await words.end(), /Released interrupted\nError: Cannot finish: interrupted\n1$/);
    const { id } = (await lists(borrower)).borrowed.find(({ name }) => name === "killed") ?? {};
    killed.child.kill("SIGKILL");
    await killed.child.status;
    await until(async () => (await names()).join() === "left", {
      timeoutMs: 30_000,
      what: "the daemon to give the VM of the killed job back",
    });
    // Its ssh is left; it would notice within a minute that nobody answers any more.
    await endSsh(`HostKeyAlias=${id}`);
    await lender.stopDaemon();
    assert.match(await left.end(), /Error: Cannot go on with VM "left": .*\n(Next: .*\n)?5$/);
    await lender.startDaemon();
    await assertNothingLeft(world);
  },
);

/** Ends the ssh that has this among its arguments. */
async function endSsh(argument: string): Promise<void> {
  for await (const { name } of Deno.readDir("/proc")) {
    if (!/^[0-9]+$/.test(name)) continue;
    const line = await Deno.readTextFile(`/proc/${name}/cmdline`).catch(() => "");
    const words = line.split("\0");
    if (words[0]?.endsWith("ssh") && words.includes(argument)) Deno.kill(Number(name));
  }
}

/** What a job prints; `started` when it has said so on standard output. */
function linesOf(child: Deno.ChildProcess):
  & { child: Deno.ChildProcess; started: Promise<void>; end: () => Promise<string> }
  & AsyncDisposable {
  const [first, rest] = [child.stdout, child.stderr];
  const errors = new Response(rest).text();
  const started = Promise.withResolvers<void>();
  const output = (async (): Promise<void> => {
    let text = "";
    for await (const chunk of first.pipeThrough(new TextDecoderStream())) {
      text += chunk;
      if (text === "started\n") started.resolve();
    }
    started.reject(new Error(`The job has ended: ${text}${await errors}`));
  })();
  started.promise.catch(() => {});
  const end = async (): Promise<string> => {
    const { code } = await child.status;
    await output;
    return `${await errors}${code}`;
  };
  return {
    child,
    started: started.promise,
    end,
    [Symbol.asyncDispose]: async (): Promise<void> => {
      try {
        child.kill("SIGTERM");
      } catch {
        // It has ended.
      }
      await end();
    },
  };
}
