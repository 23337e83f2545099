/**
 * Forwards as a user has them: many connections, a daemon that ends and comes back, a VM that does.
 *
 * @module
 */

import assert from "node:assert/strict";
import { TextLineStream } from "../../lib/api/line_stream.ts";
import { descriptorsMissing } from "../../net/proxy/proxy_fixture.ts";
import { type Namespace, netlabMissing } from "../netlab/netlab.ts";
import type { Home } from "../support/home.ts";
import { namespaceWorld } from "../support/namespace_vm.ts";
import { commandMissing, testIf } from "../support/requires.ts";
import { until } from "../support/until.ts";

const missing = netlabMissing ?? commandMissing("ip", "ss", "setpriv", "curl");

/** Connections through one forward at once. */
const MANY = 3000;
/** Time for these on a busy host, and for the kernel to forget them, in ms. */
const MANY_MS = 90_000;

/** A forward, as `omerta forward list --json` shows it. */
interface Listed {
  readonly id: string;
  readonly listen: string;
  readonly active: number;
  readonly background: boolean;
  readonly error: string | null;
}

async function listed(borrower: Home): Promise<Listed[]> {
  return JSON.parse(await borrower.ok("forward", "list", "--json"));
}

function idIn(text: string): string {
  return /^([0-9a-f]{8}): /.exec(text)?.[1] ?? assert.fail(text);
}

async function startDaemon(borrower: Home): Promise<number> {
  await borrower.ok("daemon", "start", "--no-lend", "--port", "0");
  return JSON.parse(await borrower.ok("status", "--json")).pid;
}

async function killDaemon(pid: number): Promise<void> {
  Deno.kill(pid, "SIGKILL");
  await until(() => {
    try {
      Deno.kill(pid, "SIGCONT");
      return false;
    } catch {
      return true;
    }
  }, { what: "the daemon to be gone" });
}

/** What a page says that is got by a port of this computer; undefined: there is none. */
async function page(machine: Namespace, port: number): Promise<string | undefined> {
  const args = ["-sS", "--max-time", "40", `http://127.0.0.1:${port}/`];
  const { code, stdout } = await machine.run("curl", args, { timeoutMs: 45_000 });
  return code === 0 ? stdout : undefined;
}

/** A command that runs, and what it says. */
class Running {
  readonly child: Deno.ChildProcess;
  stderr = "";
  readonly #read: Promise<void>;

  constructor(borrower: Home, ...args: string[]) {
    const child = borrower.spawn(args, { stdout: "null", stderr: "piped" });
    this.child = child;
    this.#read = (async (): Promise<void> => {
      const decoder = new TextDecoder();
      for await (const chunk of child.stderr) {
        this.stderr += decoder.decode(chunk, { stream: true });
      }
    })();
  }

  /** Waits until it has said something so many times. */
  async says(words: RegExp, count = 1): Promise<void> {
    const all = new RegExp(words, "g");
    await until(() => (this.stderr.match(all) ?? []).length >= count, {
      what: () => `${words} ${count} times; it said: ${this.stderr}`,
      timeoutMs: 20_000,
    });
  }

  /** Ends it. @returns Its exit code. */
  async interrupt(): Promise<number> {
    this.child.kill("SIGINT");
    const { code } = await this.child.status;
    await this.#read;
    return code;
  }
}

testIf(
  missing ?? descriptorsMissing(2 * MANY),
  "G6: a forward carries thousands of connections, each by itself",
  async (t) => {
    await using world = await namespaceWorld();
    const { borrower, machine } = world;
    const pid = await startDaemon(borrower);
    const descriptors = async (): Promise<number> =>
      (await Array.fromAsync(Deno.readDir(`/proc/${pid}/fd`))).length;
    const before = await descriptors();
    const id = idIn(await borrower.ok("forward", "8007:web:7", "--background"));
    const active = async (): Promise<number> => (await listed(borrower))[0]?.active ?? 0;

    const program = new URL("../support/many_connections.ts", import.meta.url).pathname;
    const child = machine.spawn(
      Deno.execPath(),
      ["run", "-A", "--quiet", program, "127.0.0.1", "8007", `${MANY}`],
      { stdin: "piped", stdout: "piped" },
    );
    const lines = child.stdout.pipeThrough(new TextDecoderStream())
      .pipeThrough(new TextLineStream()).getReader();
    const stdin = child.stdin.getWriter();
    const ask = async (line: string): Promise<number> => {
      await stdin.write(new TextEncoder().encode(`${line}\n`));
      return Number((await lines.read()).value);
    };

    await t.step("a port here leads to the VM's, for all of them at once", async () => {
      assert.equal((await lines.read()).value, "open");
      assert.equal(await active(), MANY);
      assert.equal(await ask("echo"), MANY);
      assert.ok(await descriptors() >= before + MANY);
    });

    await t.step("one that ends leaves the others", async () => {
      assert.equal(await ask("close"), MANY - 1);
      await until(async () => await active() === MANY - 1, { what: "one to end" });
      assert.equal(await ask("echo"), MANY - 1);
    });

    await t.step("another one connects after it", async () => {
      assert.equal(await ask("open"), MANY);
      assert.equal(await ask("echo"), MANY);
    });

    await t.step("stopping it ends all, and nothing is left", async () => {
      await borrower.ok("forward", "stop", id);
      assert.equal(await ask("ended"), MANY);
      assert.deepEqual(await listed(borrower), []);
      await until(async () => await descriptors() <= before, {
        what: "the descriptors to be closed",
        timeoutMs: MANY_MS,
      });
      assert.equal((await machine.runChecked("ss", ["-tlnH"])).stdout, "");
      // Positive control: the daemon goes on.
      await borrower.ok("forward", "8007:web:80", "--background");
      assert.equal(await page(machine, 8007), "10.0.0.2 /\n");
    });
    await stdin.close();
    await lines.cancel();
    await child.status;
  },
);

testIf(missing, "G6: a forward in the foreground is there again with the daemon", async (t) => {
  await using world = await namespaceWorld();
  const { borrower, machine } = world;
  let pid = await startDaemon(borrower);
  const forward = new Running(borrower, "forward", "8080:web:80");
  const socks = new Running(borrower, "socks");
  for (const running of [forward, socks]) await running.says(/Ctrl-C ends it/);
  assert.equal(await page(machine, 8080), "10.0.0.2 /\n");

  await t.step("after a stop", async () => {
    await borrower.ok("daemon", "stop");
    for (const running of [forward, socks]) await running.says(/the daemon has ended/);
    assert.equal(await page(machine, 8080), undefined);
    pid = await startDaemon(borrower);
    for (const running of [forward, socks]) await running.says(/Open again as [0-9a-f]{8}/);
    assert.equal(await page(machine, 8080), "10.0.0.2 /\n");
  });

  await t.step("after a kill, and it waits for a port that somebody else has", async () => {
    await killDaemon(pid);
    for (const running of [forward, socks]) await running.says(/the daemon has ended/, 2);
    const other = machine.spawn("nc", ["-l", "127.0.0.1", "8080"]);
    await until(async () => (await machine.run("ss", ["-tlnH"])).stdout.includes(":8080"), {
      what: "the other program to listen",
    });
    pid = await startDaemon(borrower);
    await forward.says(/127\.0\.0\.1:8080: another program uses it/);
    await socks.says(/Open again as/, 2);
    other.kill("SIGKILL");
    await other.status;
    await forward.says(/Open again as/, 2);
    assert.equal(await page(machine, 8080), "10.0.0.2 /\n");
  });

  await t.step("Ctrl-C ends it at once, open or not", async () => {
    assert.deepEqual((await listed(borrower)).map(({ background }) => background), [false, false]);
    assert.equal(await socks.interrupt(), 0);
    await until(async () => (await listed(borrower)).length === 1, { what: "the server to end" });
    await borrower.ok("daemon", "stop");
    await forward.says(/the daemon has ended/, 3);
    assert.equal(await forward.interrupt(), 0);
  });

  await t.step("'forward stop' ends the command, and none is remembered", async () => {
    await borrower.fails(4, "forward", "8080:web:80");
    await startDaemon(borrower);
    assert.deepEqual(await listed(borrower), []);
    const last = new Running(borrower, "forward", "8080:web:80");
    await last.says(/Ctrl-C ends it/);
    const [one] = await listed(borrower);
    await borrower.ok("forward", "stop", one?.id ?? "");
    await last.says(/Ended by 'omerta forward stop'/);
    assert.equal((await last.child.status).code, 0);
  });
});

testIf(missing, "G6: forwards of the background are there again with every daemon", async (t) => {
  await using world = await namespaceWorld();
  const { borrower, machine, vm } = world;
  let pid = await startDaemon(borrower);
  const web = idIn(await borrower.ok("forward", "8080:web:80", "--background"));
  const socks = idIn(await borrower.ok("socks", "--background"));
  const back = idIn(
    await borrower.ok("forward", "--reverse", "9080:localhost:8080", "--background"),
  );
  const states = async (): Promise<unknown> =>
    (await listed(borrower)).map(({ id, background, error }) => [id, background, error]);
  const all = [web, socks, back].map((id) => [id, true, null]);
  assert.deepEqual(await states(), all);

  await t.step("after a stop and after a kill, with their ids", async () => {
    await borrower.ok("daemon", "stop");
    assert.equal(await page(machine, 8080), undefined);
    pid = await startDaemon(borrower);
    assert.deepEqual(await states(), all);
    assert.equal(await page(machine, 8080), "10.0.0.2 /\n");
    await killDaemon(pid);
    pid = await startDaemon(borrower);
    assert.deepEqual(await states(), all);
    const seen = await vm.machine.runChecked("curl", ["-sS", "http://10.0.0.1:9080/"]);
    assert.equal(seen.stdout, "10.0.0.2 /\n");
  });

  await t.step("one whose port is taken is listed, and opened when it is free", async () => {
    await borrower.ok("daemon", "stop");
    const other = machine.spawn("nc", ["-l", "127.0.0.1", "8080"]);
    await until(async () => (await machine.run("ss", ["-tlnH"])).stdout.includes(":8080"), {
      what: "the other program to listen",
    });
    await startDaemon(borrower);
    assert.match(
      await borrower.ok("forward", "list"),
      new RegExp(`^ *${web} .* leads to web:80 +not open: .*:8080: another program uses it`, "m"),
    );
    other.kill("SIGKILL");
    await other.status;
    await until(async () => (await listed(borrower)).every(({ error }) => error === null), {
      what: "the forward to be open",
      timeoutMs: 20_000,
    });
    assert.equal(await page(machine, 8080), "10.0.0.2 /\n");
  });

  await t.step("they lead to the VM after it was started again", async () => {
    await vm.stop();
    await vm.start();
    assert.equal(await page(machine, 8080), "10.0.0.2 /\n");
  });

  await t.step("and to another one that was borrowed under the same name", async () => {
    await borrower.ok("daemon", "stop");
    await vm.stop();
    await using next = world.makeVm({ address: "10.0.0.3" });
    await next.start();
    await world.borrow(next);
    pid = await startDaemon(borrower);
    assert.deepEqual(await states(), all);
    assert.equal(await page(machine, 8080), "10.0.0.3 /\n");
  });

  await t.step("'forward stop' forgets them", async () => {
    for (const id of [web, socks, back]) await borrower.ok("forward", "stop", id);
    await killDaemon(pid);
    await startDaemon(borrower);
    assert.match(await borrower.ok("forward", "list"), /^Nothing is forwarded/);
    assert.equal((await machine.runChecked("ss", ["-tlnH"])).stdout, "");
  });
});
