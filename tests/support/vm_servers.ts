/**
 * The servers of a machine of a lab that stands in for a VM.
 *
 * ```
 * deno run -A tests/support/vm_servers.ts ADDRESS
 *
 * TCP 7    a line "hello", then what it gets comes back, ended when the other side ends
 * TCP 9    what it gets is forgotten
 * UDP 7    what it gets comes back
 * TCP 80   HTTP, a page that names the address and the path
 * ```
 *
 * @module
 */

const [hostname = ""] = Deno.args;
const HELLO = new TextEncoder().encode("hello\n");

async function echo(conn: Deno.Conn): Promise<void> {
  try {
    await conn.write(HELLO);
    await conn.readable.pipeTo(conn.writable);
  } catch {
    // It was reset.
  }
}

async function echoTcp(): Promise<void> {
  for await (const conn of Deno.listen({ hostname, port: 7 })) void echo(conn);
}

async function discardTcp(): Promise<void> {
  for await (const conn of Deno.listen({ hostname, port: 9 })) {
    conn.readable.pipeTo(new WritableStream()).catch(() => {}); // it was reset
  }
}

async function echoUdp(): Promise<void> {
  const socket = Deno.listenDatagram({ transport: "udp", hostname, port: 7 });
  for await (const [datagram, from] of socket) await socket.send(datagram, from);
}

void echoTcp();
void discardTcp();
void echoUdp();
Deno.serve({
  hostname,
  port: 80,
  onListen: () => void Deno.stdout.write(new TextEncoder().encode("ready\n")),
}, ({ url }) => new Response(`${hostname} ${new URL(url).pathname}\n`));
