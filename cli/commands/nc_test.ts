import assert from "node:assert/strict";
import { join } from "node:path";
import { commandMissing, testIf } from "../../tests/support/requires.ts";
import { omertaCommand } from "../../tests/support/home.ts";

/** How long a command may take that is to end, in ms. */
const LIMIT_MS = 20_000;
const encoder = new TextEncoder();

/** What stands behind the pipe of a home: takes one connection and says that it leads to a VM. */
class FakeDaemon implements AsyncDisposable {
  /** `$OMERTA_HOME`. */
  readonly home: string;
  readonly #listener: Deno.UnixListener;

  private constructor(home: string) {
    this.home = home;
    this.#listener = Deno.listen({ transport: "unix", path: join(home, "pipe.sock") });
  }

  static async start(): Promise<FakeDaemon> {
    return new FakeDaemon(await Deno.makeTempDir());
  }

  /** The connection that was asked for, after `answer`; of its request only so much was read. */
  async accept(answer: string, request = "CONNECT web 80\n"): Promise<Deno.UnixConn> {
    const connection = await this.#listener.accept();
    assert.equal(await readText(connection, request.length), request);
    await connection.write(encoder.encode(answer));
    return connection;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#listener.close();
    await Deno.remove(this.home, { recursive: true });
  }
}

/** Text of so many bytes, or of less when it ends before. */
async function readText(from: Deno.UnixConn, length: number): Promise<string> {
  const bytes = new Uint8Array(length);
  let done = 0;
  while (done < length) {
    const count = await from.read(bytes.subarray(done));
    if (count === null) break;
    done += count;
  }
  return new TextDecoder().decode(bytes.subarray(0, done));
}

/** Starts `omerta nc web 80`. */
function startNc(
  { home }: FakeDaemon,
  stdin: "piped" | "null",
): Deno.ChildProcess {
  const [program = "", ...args] = omertaCommand("nc", "web", "80");
  return new Deno.Command(program, {
    args,
    env: { OMERTA_HOME: home, NO_COLOR: "1" },
    ...{ stdin, stdout: "piped", stderr: "piped" },
    signal: AbortSignal.timeout(LIMIT_MS),
  }).spawn();
}

Deno.test("L6: nc goes on with its input when the other side has ended its own", async () => {
  await using daemon = await FakeDaemon.start();
  const child = startNc(daemon, "piped");
  using connection = await daemon.accept("OK\nall of it");
  await connection.closeWrite();
  // It ends its output first: that is what ssh waits for.
  assert.equal(await new Response(child.stdout).text(), "all of it");
  const input = "x".repeat(1_000_000);
  const writer = child.stdin.getWriter();
  const written = writer.write(encoder.encode(input)).then(() => writer.close());
  assert.equal(await readText(connection, input.length + 1), input);
  await written;
  assert.equal(await new Response(child.stderr).text(), "");
  assert.equal((await child.status).code, 0);
});

Deno.test("L6: nc ends when its input has ended and then the other side", async () => {
  await using daemon = await FakeDaemon.start();
  const child = startNc(daemon, "null");
  using connection = await daemon.accept("OK\n");
  assert.equal(await readText(connection, 1), "");
  await connection.closeWrite();
  const { code, stdout, stderr } = await child.output();
  assert.deepEqual([code, stdout.length, stderr.length], [0, 0, 0]);
});

Deno.test("L6: nc says when a connection ends before its input was taken", async () => {
  await using daemon = await FakeDaemon.start();
  const child = startNc(daemon, "piped");
  const connection = await daemon.accept("OK\n");
  const writer = child.stdin.getWriter();
  await writer.write(encoder.encode("never read"));
  await readText(connection, 1); // it has come
  connection.close();
  await writer.close();
  assert.match(
    await new Response(child.stderr).text(),
    /^Error: Cannot go on with web port 80: .*\n$/,
  );
  assert.equal((await child.status).code, 5);
  await child.stdout.cancel();
});

Deno.test("L6: nc says when the daemon ends the connection unheard", async () => {
  await using daemon = await FakeDaemon.start();
  const child = startNc(daemon, "null");
  (await daemon.accept("", "CONNECT")).close();
  const { code, stderr } = await child.output();
  assert.equal(code, 1);
  const words = "Error: Cannot connect to web port 80: the daemon gave no answer\n";
  assert.equal(new TextDecoder().decode(stderr), words);
});

Deno.test("L6: nc ends quietly when nobody reads its output any more", async () => {
  await using daemon = await FakeDaemon.start();
  const child = startNc(daemon, "piped");
  using connection = await daemon.accept("OK\n");
  await child.stdout.cancel();
  await connection.write(encoder.encode("for nobody"));
  assert.equal(await new Response(child.stderr).text(), "");
  assert.equal((await child.status).code, 0);
  await child.stdin.close();
});

testIf(commandMissing("script"), "L6: nc at a terminal ends with the other side", async () => {
  await using daemon = await FakeDaemon.start();
  const line = omertaCommand("nc", "web", "80").map((word) => `'${word}'`).join(" ");
  const child = new Deno.Command("script", {
    args: ["--quiet", "--return", "--command", line, "/dev/null"],
    env: { OMERTA_HOME: daemon.home, SHELL: "/bin/sh" },
    ...{ stdin: "piped", stdout: "piped", stderr: "piped" },
    signal: AbortSignal.timeout(LIMIT_MS),
  }).spawn();
  using connection = await daemon.accept("OK\n");
  await connection.write(encoder.encode("hello"));
  await connection.closeWrite();
  assert.equal(await new Response(child.stdout).text(), "hello");
  assert.equal((await child.status).code, 0);
  await child.stdin.close();
  await child.stderr.cancel();
});
