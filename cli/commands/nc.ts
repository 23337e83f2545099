/**
 * `omerta nc`: standard input and output become a TCP connection to a port of a borrowed VM, through
 * the daemon's own TCP/IP stack.
 *
 * ssh uses it as its ProxyCommand, and, where it can, takes the connection itself (ProxyUseFdpass):
 * then this program ends before a byte of the session has passed, and adds nothing to any of them.
 *
 * @module
 */

import { Command, type CommandUnknownOpts } from "@commander-js/extra-typings";
import { EXIT, type ExitCode, OmertaError } from "../../lib/core/errors.ts";
import { parsePort } from "../../lib/core/link.ts";
import type { Context } from "../context.ts";

/** Bytes that are moved at once. */
const CHUNK = 65_536;
/** Longest answer to the request, in bytes. */
const MAX_ANSWER = 300;
const NEWLINE = 10;
const STDOUT = 1;

/** The command. */
export function ncCommand(context: Context): CommandUnknownOpts {
  return new Command("nc")
    .description("Connect standard input and output to a TCP port of a borrowed VM, without root")
    .argument("<host>", "name, id or address of the VM")
    .argument("<port>", "its port", parsePort)
    .option("--hand-over", "give the connection to the program that started this, as ssh takes it")
    .action(async (host, port, { handOver }) => {
      const { pipe } = context.paths;
      if (handOver) return await giveAway(pipe, host, port);
      using connection = await reach(() => Deno.connect({ transport: "unix", path: pipe }));
      await begin(connection, host, port);
      const sending = sendInput(connection);
      if (await carry(connection, host, port)) await hearOut(sending);
      // Whatever standard input still waits for: nobody wants to know.
      Deno.exit(EXIT.done);
    });
}

/**
 * Goes on with standard input after the other side has ended its direction, which may well read on.
 * Whoever reads ours is told of that end, and may then end standard input, as ssh does; a person at a
 * terminal would not know that they are waited for, and where nobody can be told there is no waiting.
 */
async function hearOut(sending: Promise<void>): Promise<void> {
  if (Deno.stdin.isTerminal()) return;
  const { closeStandardOutput } = await import("../close_output.ts");
  if (closeStandardOutput()) await sending;
}

/** What is written to and read from. */
interface Stream {
  write(bytes: Uint8Array<ArrayBuffer>): Promise<number>;
  read(bytes: Uint8Array<ArrayBuffer>): Promise<number | null>;
}

/** Gives the connection to whoever is at the other end of standard output, and is done. */
async function giveAway(path: string, host: string, port: number): Promise<void> {
  const { UnixClient } = await import("../../net/os/unix_client_linux.ts");
  using connection = await reach(() => Promise.resolve(UnixClient.connect(path)));
  await begin(connection, host, port);
  if (connection.handOver(STDOUT)) return;
  throw new OmertaError(
    "hand-over-failed",
    "Cannot hand the connection over: standard output is no unix socket",
    { exit: EXIT.usage, next: "Leave --hand-over out, or use it with ssh's ProxyUseFdpass" },
  );
}

async function reach<T>(connect: () => Promise<T>): Promise<T> {
  try {
    return await connect();
  } catch (cause) {
    if (cause instanceof OmertaError && cause.code !== "connect-failed") throw cause;
    throw new OmertaError("no-daemon", "Cannot connect: no daemon of this home has a tunnel", {
      exit: EXIT.unreachable,
      next: "Borrow a VM with 'omerta vm request', or start the daemon with 'omerta daemon start'",
      cause,
    });
  }
}

/** Asks to be connected. Nothing is read of what comes behind the answer. */
async function begin(connection: Stream, host: string, port: number): Promise<void> {
  if (!/^[!-~]{1,255}$/.test(host)) {
    throw new OmertaError("bad-host", `Cannot connect to '${host}': want a name or an address`, {
      exit: EXIT.usage,
    });
  }
  const line = await answerTo(connection, `CONNECT ${host} ${port}\n`);
  if (line === "OK") return;
  const [, code = "no-answer", words = "the daemon gave no answer"] =
    /^ERR ([a-z-]+) (.*)$/.exec(line) ?? [];
  throw new OmertaError(code, `Cannot connect to ${host} port ${port}: ${words}`, {
    exit: exitOf(code),
    ...(code === "unknown-host" ? { next: "See 'omerta vm list'" } : {}),
  });
}

/** The line that the daemon answers with; empty when it has ended the connection instead. */
async function answerTo(connection: Stream, request: string): Promise<string> {
  const answer = new Uint8Array(MAX_ANSWER);
  let length = 0;
  try {
    await writeAll(connection, new TextEncoder().encode(request));
    while (length < MAX_ANSWER && answer[length - 1] !== NEWLINE) {
      if (await connection.read(answer.subarray(length, length + 1)) === null) break;
      length++;
    }
  } catch (error) {
    const { BrokenPipe, ConnectionReset } = Deno.errors;
    if (!(error instanceof BrokenPipe) && !(error instanceof ConnectionReset)) throw error;
  }
  return new TextDecoder().decode(answer.subarray(0, length)).trimEnd();
}

function exitOf(code: string): ExitCode {
  if (code === "unknown-host" || code === "bad-request") return EXIT.usage;
  if (code === "refused" || code === "reset") return EXIT.refused;
  return code === "timeout" || code === "unreachable" ? EXIT.unreachable : EXIT.failed;
}

/**
 * What comes goes to standard output, to its end. False when nobody reads that any more.
 *
 * @throws {OmertaError} `reset`.
 */
async function carry(connection: Deno.Conn, host: string, port: number): Promise<boolean> {
  const bytes = new Uint8Array(CHUNK);
  try {
    for (let count; (count = await connection.read(bytes)) !== null;) {
      await writeAll(Deno.stdout, bytes.subarray(0, count));
    }
    return true;
  } catch (error) {
    if (error instanceof Deno.errors.BrokenPipe) return false;
    if (!(error instanceof Deno.errors.ConnectionReset)) throw error;
    throw new OmertaError(
      "reset",
      `Cannot go on with ${host} port ${port}: the connection ended before all input was taken`,
      { exit: EXIT.refused, cause: error },
    );
  }
}

/** Standard input goes to the other side, which is told of its end. */
async function sendInput(connection: Deno.Conn): Promise<void> {
  const bytes = new Uint8Array(CHUNK);
  try {
    for (let count; (count = await Deno.stdin.read(bytes)) !== null;) {
      await writeAll(connection, bytes.subarray(0, count));
    }
    await connection.closeWrite();
  } catch {
    // The other side takes nothing any more; what it has sent is still read.
  }
}

async function writeAll(
  to: Pick<Stream, "write">,
  bytes: Uint8Array<ArrayBuffer>,
): Promise<void> {
  for (let done = 0; done < bytes.length;) done += await to.write(bytes.subarray(done));
}
