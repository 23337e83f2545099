/**
 * Many connections at once to a server that greets with a line and sends back what it gets.
 *
 * ```
 * deno run -A tests/support/many_connections.ts ADDRESS PORT COUNT
 *
 * prints     asked by a line of standard input
 * open       (at its start) every connection has heard the greeting
 * N          echo      sends a number of its own by each that is open; N have come back right
 * N          open      opens one more; N are open
 * N          close     closes the first one; N are open
 * N          ended     waits until all have ended, however; N had been open
 * ```
 *
 * @module
 */

import { TextLineStream } from "../../lib/api/line_stream.ts";

const [hostname = "", port = "", count = ""] = Deno.args;
/** Connections that are asked for at a time. */
const BATCH = 100;
const GREETING = "hello\n";

async function say(word: string | number): Promise<void> {
  await Deno.stdout.write(new TextEncoder().encode(`${word}\n`));
}

async function read(conn: Deno.Conn, wanted: string): Promise<boolean> {
  const bytes = new Uint8Array(wanted.length);
  let length = 0;
  while (length < bytes.length) {
    const more = await conn.read(bytes.subarray(length));
    if (more === null) return false;
    length += more;
  }
  return new TextDecoder().decode(bytes) === wanted;
}

async function open(): Promise<Deno.Conn> {
  const conn = await Deno.connect({ hostname, port: Number(port) });
  if (!await read(conn, GREETING)) throw new Error("Cannot go on: no greeting");
  return conn;
}

/** Whether it has ended, when it ends. */
async function ends(conn: Deno.Conn): Promise<void> {
  try {
    while (await conn.read(new Uint8Array(64)) !== null);
  } catch {
    // It was reset.
  }
  conn.close();
}

const conns: Deno.Conn[] = [];
while (conns.length < Number(count)) {
  conns.push(...await Promise.all(Array.from({ length: BATCH }, open)));
}
await say("open");
const lines = Deno.stdin.readable
  .pipeThrough(new TextDecoderStream())
  .pipeThrough(new TextLineStream());
for await (const line of lines) {
  switch (line) {
    case "echo": {
      const echoed = await Promise.all(conns.map(async (conn, i) => {
        const word = `connection ${i}\n`;
        await conn.write(new TextEncoder().encode(word));
        return await read(conn, word);
      }));
      await say(echoed.filter((right) => right).length);
      break;
    }
    case "open":
      await say(conns.push(await open()));
      break;
    case "close":
      conns.shift()?.close();
      await say(conns.length);
      break;
    case "ended":
      await Promise.all(conns.map(ends));
      await say(conns.splice(0).length);
      break;
  }
}
