/**
 * The kernel's side of thousands of connections at once: a program that uses the system's own
 * sockets, to be run in the namespace of a `tcp_node.ts`. It opens connections to the stack, and
 * answers those that the stack opens with what it reads from them. Takes a {@link CrowdPlan} as JSON,
 * prints `ready`, and answers each line on its standard input by a line of JSON.
 *
 * | line       | what it does                                                          | answer        |
 * | ---------- | --------------------------------------------------------------------- | ------------- |
 * | `open`     | opens all connections                                                 | `CrowdResult` |
 * | `exchange` | says something on each of them, and reads it again                    | `CrowdResult` |
 * | `part`     | ends one half in order; closes the other with bytes unread: a reset   | `CrowdResult` |
 * | `served`   | says what became of those that the stack has opened                   | `Served`      |
 *
 * @module
 */

import { linesOf } from "./_lines.ts";
import { crowdMessage, type CrowdResult, SAYS_BYTES, WAVE } from "./_tcp_crowd.ts";

/** What it is to do. */
export interface CrowdPlan {
  /** The stack's address. */
  readonly host: string;
  /** Port of the stack's that sends back what it reads, and ends when the other side does. */
  readonly port: number;
  /**
   * The same for those that are to be reset, but it does not end: the runtime sends a FIN before the
   * kernel sends its reset.
   */
  readonly resetPort: number;
  /** Connections to open. */
  readonly count: number;
  /** Connections that the stack will open, for the limit of descriptors. */
  readonly served: number;
  /** Own address. */
  readonly listenHost: string;
  /** Own port for those that the stack opens. */
  readonly listenPort: number;
}

/** Connections that the stack has opened. */
export interface Served {
  /** All of them. */
  accepted: number;
  /** Those that it has ended in order. */
  ended: number;
  /** Those that it has reset. */
  reset: number;
}

const served: Served = { accepted: 0, ended: 0, reset: 0 };
const members: Deno.TcpConn[] = [];
let round = 0;

/** Does `what` for so many, a wave at a time; it returns whether the member reset. */
async function inWaves(
  count: number,
  what: (i: number) => Promise<boolean>,
): Promise<CrowdResult> {
  const result = { done: 0, reset: 0, failed: 0 };
  let next = 0;
  const one = async (): Promise<void> => {
    while (next < count) {
      try {
        if (await what(next++)) result.reset++;
        else result.done++;
      } catch {
        result.failed++;
      }
    }
  };
  await Promise.all(Array.from({ length: WAVE }, one));
  return result;
}

function member(i: number): Deno.TcpConn {
  const c = members[i];
  if (c === undefined) throw new Error("Cannot go on: it was not opened");
  return c;
}

async function say(c: Deno.TcpConn, message: Uint8Array): Promise<void> {
  if (await c.write(message) !== message.length) throw new Error("Cannot write it at once");
}

async function exchange(i: number): Promise<boolean> {
  const c = member(i);
  const message = crowdMessage(i, round);
  await say(c, message);
  const bytes = new Uint8Array(SAYS_BYTES + 1);
  let count = 0;
  while (count < SAYS_BYTES) count += await c.read(bytes.subarray(count)) ?? Infinity;
  if (count !== SAYS_BYTES || message.some((byte, k) => byte !== bytes[k])) {
    throw new Error("Cannot go on: what came back is not what was said");
  }
  return false;
}

async function part(i: number): Promise<boolean> {
  using c = member(i);
  if (i % 2 === 0) {
    await c.closeWrite();
    if (await c.read(new Uint8Array(1)) !== null) throw new Error("Cannot go on: there is more");
    return false;
  }
  // All of it has come when one byte has, for it was one segment; closed now, the kernel resets.
  await say(c, crowdMessage(i, round));
  await c.read(new Uint8Array(1));
  return true;
}

async function serve(c: Deno.TcpConn): Promise<void> {
  served.accepted++;
  const buffer = new Uint8Array(SAYS_BYTES);
  try {
    for (let n = await c.read(buffer); n !== null; n = await c.read(buffer)) {
      await say(c, buffer.subarray(0, n));
    }
    served.ended++;
  } catch (error) {
    if (error instanceof Deno.errors.ConnectionReset) served.reset++;
  } finally {
    c.close();
  }
}

function print(text: string): void {
  const bytes = new TextEncoder().encode(`${text}\n`);
  for (let at = 0; at < bytes.length;) at += Deno.stdout.writeSync(bytes.subarray(at));
}

async function main(plan: CrowdPlan): Promise<void> {
  const { host: hostname, port, resetPort, count } = plan;
  const listener = Deno.listen({ hostname: plan.listenHost, port: plan.listenPort });
  void (async () => {
    for await (const c of listener) void serve(c);
  })();
  print("ready");
  for await (const line of linesOf(Deno.stdin.readable)) {
    if (line === "served") print(JSON.stringify(served));
    else if (line === "exchange") {
      round++;
      print(JSON.stringify(await inWaves(count, exchange)));
    } else if (line === "part") print(JSON.stringify(await inWaves(count, part)));
    else {
      const open = async (i: number): Promise<boolean> => {
        members[i] = await Deno.connect({ hostname, port: i % 2 === 0 ? port : resetPort });
        return false;
      };
      print(JSON.stringify(await inWaves(count, open)));
    }
  }
  // Whatever is still open ends with the program.
  Deno.exit(0);
}

if (import.meta.main) await main(JSON.parse(Deno.args[0] ?? "{}"));
