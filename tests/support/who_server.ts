/**
 * A server for a machine of a lab that says who answers and whom it sees, and keeps the connection
 * open; on request also a name server that knows one address.
 *
 * ```
 * deno run -A tests/support/who_server.ts NAME ADDRESS PORT [DNS-ANSWER]
 * ```
 *
 * @module
 */

const [name = "", hostname = "", port = "", answer] = Deno.args;

/** DNS (RFC 1035 section 4.1): the question of `query`, and for type A the one answer there is. */
function answerTo(query: Uint8Array, address: string): Uint8Array {
  let at = 12;
  while (at < query.length && query[at] !== 0) at += 1 + (query[at] ?? 0);
  const question = query.subarray(12, at + 5);
  const isA = query[at + 2] === 1;
  const record = [0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4, ...address.split(".").map(Number)];
  const counts = [0, 1, 0, isA ? 1 : 0, 0, 0, 0, 0];
  return new Uint8Array([
    ...query.subarray(0, 2),
    ...[0x81, 0x80, ...counts],
    ...question,
    ...(isA ? record : []),
  ]);
}

async function serveNames(address: string): Promise<void> {
  const socket = Deno.listenDatagram({ transport: "udp", hostname, port: 53 });
  for await (const [query, from] of socket) await socket.send(answerTo(query, address), from);
}

async function greet(conn: Deno.Conn): Promise<void> {
  const { hostname } = conn.remoteAddr as Deno.NetAddr;
  await conn.write(new TextEncoder().encode(`${name} sees ${hostname}\n`));
  // Until the other side has closed.
  while (await conn.read(new Uint8Array(64)) !== null);
  conn.close();
}

if (answer !== undefined) void serveNames(answer);
const listener = Deno.listen({ hostname, port: Number(port) });
await Deno.stdout.write(new TextEncoder().encode("listening\n"));
for await (const conn of listener) greet(conn).catch(() => {});
