/**
 * Who asks a proxy for an address to which no tunnel leads hears so at once; a tunnel that comes later
 * is found by the next connection, and one that goes is missed by it.
 *
 * @module
 */

import assert from "node:assert/strict";
import { join } from "node:path";
import { loopback } from "../../tests/doubles/endpoints.ts";
import { testIf } from "../../tests/support/requires.ts";
import { openCable } from "../os/cable.ts";
import { libc } from "../os/libc.ts";
import { openReactor, type Reactor } from "../os/reactor.ts";
import { openTun } from "../os/tun.ts";
import { openUdp } from "../os/udp.ts";
import { Echo, pattern, readAll, readExactly, writeAll } from "../proxy/proxy_fixture.ts";
import { writeSocksUdp } from "../proxy/socks_udp_header.ts";
import { UserspaceInterface } from "../vlan/userspace_interface.ts";
import { parseIpv4 } from "../wire/ip_address.ts";
import { generatePrivateKey, publicKeyOf } from "../wireguard/keys.ts";
import type { ProxySettings } from "./_messages.ts";
import { Gate, SHARED_BYTES } from "./gate.ts";
import { PacketLoop } from "./packet_loop.ts";
import type { PlaneStats } from "./stats.ts";

const noFfi = libc() === undefined ? "needs FFI on Linux" : undefined;

/** Bytes of a datagram of a client, its header included. */
const DATAGRAM = 20;
const LISTEN = { kind: "tcp", address: "127.0.0.1", port: 0 } as const;
const VM = "10.0.0.2";
/** Addresses that no VM has: a free one, outside, this computer's, a group's, and our own. */
const NOBODYS = ["10.0.0.9", "8.8.8.8", "127.0.0.1", "224.0.0.1", "10.0.0.1"];
/** RFC 1928 section 6. */
const [SUCCEEDED, HOST_UNREACHABLE] = [0, 4];

/** Waits without blocking its thread, in which the clients are too. */
function politeReactor(): Reactor {
  const reactor = openReactor(-1);
  return {
    add: (source, ready, pausable) => reactor.add(source, ready, pausable),
    pause: (paused) => reactor.pause(paused),
    remove: (source) => reactor.remove(source),
    wake: () => reactor.wake(),
    wait: async () => {
      const woken = await reactor.wait(0);
      await new Promise((resolve) => setImmediate(resolve));
      return woken;
    },
    [Symbol.dispose]: () => reactor[Symbol.dispose](),
  };
}

/** A running loop. */
class Running implements AsyncDisposable {
  readonly loop: PacketLoop;
  readonly key = generatePrivateKey();
  readonly #reactor = politeReactor();
  readonly #done: Promise<void>;

  constructor() {
    this.loop = new PacketLoop({
      port: 0,
      privateKey: this.key,
      tun: undefined,
      os: { openUdp, openCable, openTun, reactor: this.#reactor },
      gate: new Gate(new Int32Array(new SharedArrayBuffer(SHARED_BYTES)), 1),
      post: () => {},
    });
    this.#done = this.loop.run(() => undefined);
  }

  /** Makes another one a peer that has this address. */
  addPeer(peer: Running, address: string): void {
    this.loop.execute({
      kind: "add-peer",
      publicKey: publicKeyOf(peer.key),
      presharedKey: undefined,
      endpoint: loopback(peer.loop.port).sockaddr,
      allowedIps: [`${address}/32`],
      keepaliveSeconds: 0,
    });
  }

  open(id: string, settings: ProxySettings): number {
    const answer = this.loop.execute({ kind: "open-proxy", id, settings });
    assert.ok(answer.kind === "proxy-opened");
    return answer.port;
  }

  stats(): PlaneStats {
    const answer = this.loop.execute({ kind: "stats" });
    assert.ok(answer.kind === "stats");
    return answer.stats;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.loop.execute({ kind: "close" });
    await this.#done;
    this.loop[Symbol.dispose]();
    this.#reactor[Symbol.dispose]();
  }
}

async function clientAt(port: number): Promise<Deno.TcpConn> {
  return await Deno.connect({ hostname: "127.0.0.1", port });
}

function octets(address: string): number[] {
  return address.split(".").map(Number);
}

/** Asks a SOCKS5 server for something; the connection, and the reply. */
async function socks(
  port: number,
  command: number,
  host: string,
  to: number,
): Promise<[Deno.TcpConn, Uint8Array]> {
  const conn = await clientAt(port);
  await writeAll(conn, Uint8Array.of(5, 1, 0));
  await readExactly(conn, 2);
  await writeAll(conn, Uint8Array.of(5, command, 0, 1, ...octets(host), to >>> 8, to & 255));
  return [conn, await readExactly(conn, 10)];
}

/** The reply to CONNECT. */
async function replyTo(port: number, host: string, to = 7): Promise<number | undefined> {
  const [conn, reply] = await socks(port, 1, host, to);
  conn.close();
  return reply[1];
}

/** Whether a forward leads to somebody who sends back what it is sent. */
async function echoes(port: number): Promise<boolean> {
  try {
    using conn = await clientAt(port);
    await writeAll(conn, pattern(100));
    assert.deepEqual(await readExactly(conn, 100), pattern(100));
    return true;
  } catch (error) {
    const { BrokenPipe, ConnectionReset } = Deno.errors;
    assert.ok(error instanceof ConnectionReset || error instanceof BrokenPipe, String(error));
    return false;
  }
}

/** A borrower with a proxy of each kind, and a VM that is not its peer yet. */
async function withProxies(
  work: (
    parts: {
      readonly borrower: Running;
      readonly vm: Running;
      readonly ports: { readonly socks: number; readonly forward: number };
      readonly pipe: string;
    },
  ) => Promise<void>,
): Promise<void> {
  const folder = await Deno.makeTempDir();
  try {
    await using borrower = new Running();
    await using vm = new Running();
    const link = new UserspaceInterface({ address: VM, mtu: 1400, now: performance.now() });
    Echo.on(link.stack, 7);
    link.udp.bind({
      port: 53,
      handler: {
        onDatagram: (socket, buffer, at, length, address, from) =>
          void socket.sendTo(address, from, buffer, at, length),
      },
    });
    vm.loop.attach(link);
    vm.addPeer(borrower, "10.0.0.1");
    borrower.loop.execute({ kind: "open-stack", address: "10.0.0.1", mtu: 1400 });
    const pipe = join(folder, "pipe.sock");
    borrower.open("pipe", { kind: "pipe", path: pipe });
    const ports = {
      socks: borrower.open("socks", { kind: "socks", listen: LISTEN, credentials: undefined }),
      forward: borrower.open("forward", { kind: "forward", listen: LISTEN, host: VM, port: 7 }),
    };
    await work({ borrower, vm, ports, pipe });
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
}

testIf(
  noFfi,
  "G5: a proxy says at once that no tunnel leads to an address",
  () =>
    withProxies(async ({ borrower, vm, ports, pipe }) => {
      borrower.addPeer(vm, VM);
      for (const host of NOBODYS) {
        assert.equal(await replyTo(ports.socks, host), HOST_UNREACHABLE, host);
        using conn = await Deno.connect({ transport: "unix", path: pipe });
        await writeAll(conn, new TextEncoder().encode(`CONNECT ${host} 22\n`));
        const line = new TextDecoder().decode(await readAll(conn));
        assert.equal(line, "ERR unreachable No route to host\n", host);
      }
      assert.equal(await replyTo(ports.socks, VM, 0), HOST_UNREACHABLE);
      assert.equal(borrower.stats().stack?.connections, 0);
      // Positive control.
      assert.equal(await replyTo(ports.socks, VM), SUCCEEDED);
    }),
);

testIf(
  noFfi,
  "G5: our own address leads nowhere from here, whatever a peer is allowed",
  () =>
    withProxies(async ({ borrower, vm, ports }) => {
      using server = Deno.listen({ hostname: "127.0.0.1", port: 0 });
      const to = { kind: "tcp", address: "127.0.0.1", port: server.addr.port } as const;
      borrower.open("back", { kind: "reverse", port: 8080, to });
      borrower.addPeer(vm, "10.0.0.1");
      assert.equal(await replyTo(ports.socks, "10.0.0.1", 8080), HOST_UNREACHABLE);
    }),
);

testIf(
  noFfi,
  "G6: a forward reaches a VM that came after it, until that is released",
  () =>
    withProxies(async ({ borrower, vm, ports }) => {
      assert.equal(await echoes(ports.forward), false);
      borrower.addPeer(vm, VM);
      assert.equal(await echoes(ports.forward), true);
      borrower.loop.execute({ kind: "remove-peer", publicKey: publicKeyOf(vm.key) });
      assert.equal(await echoes(ports.forward), false);
      const { connections, failed } = borrower.stats().stack?.proxies.at(-1) ?? assert.fail();
      assert.deepEqual([connections, failed], [3, 2]);
      borrower.addPeer(vm, VM);
      assert.equal(await echoes(ports.forward), true);
    }),
);

testIf(
  noFfi,
  "G5: datagrams to where no tunnel leads are dropped, and others go on",
  () =>
    withProxies(async ({ borrower, vm, ports }) => {
      borrower.addPeer(vm, VM);
      const [conn, reply] = await socks(ports.socks, 3, "0.0.0.0", 0);
      const port = new DataView(reply.buffer, reply.byteOffset).getUint16(8);
      const to = { transport: "udp", hostname: "127.0.0.1", port } as const;
      const client = Deno.listenDatagram({ ...to, port: 0 });
      for (const host of [...NOBODYS, VM]) {
        const datagram = new Uint8Array(DATAGRAM);
        writeSocksUdp(datagram, 0, parseIpv4(host) ?? assert.fail(host), 53);
        await client.send(datagram, to);
      }
      const [answer] = await client.receive(new Uint8Array(100));
      assert.equal(answer.length, DATAGRAM);
      // Those for 10.0.0.9 and 8.8.8.8 are the device's to drop, the others the stack's.
      assert.equal(borrower.stats().wireguard.noRoute, 2);
      assert.equal(borrower.stats().stack?.udp.datagramsOut, 3);
      client.close();
      conn.close();
    }),
);
