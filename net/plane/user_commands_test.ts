import assert from "node:assert/strict";
import { join } from "node:path";
import { type Namespace, NetLab, netlabMissing } from "../../tests/netlab/netlab.ts";
import { commandMissing, rootMissing, testIf } from "../../tests/support/requires.ts";
import { until } from "../../tests/support/until.ts";
import { AsyncReactor } from "../os/reactor.ts";
import { libc } from "../os/libc.ts";
import { JoinedInterface } from "../vlan/joined_interface.ts";
import { UserspaceInterface } from "../vlan/userspace_interface.ts";
import { Wire } from "../vlan/wire_fixture.ts";
import { generatePrivateKey, publicKeyOf } from "../wireguard/keys.ts";
import type { Answer } from "./_messages.ts";
import type { PlaneStats, ProxySettings } from "./plane.ts";
import { type FixtureConfig, type RunningPlane, startPlane } from "./plane_fixture.ts";
import { type LaterCommand, UserCommands } from "./user_commands.ts";

/** What is asked of the stack, and what is at the other end of its tunnel. */
class Scene implements Disposable {
  readonly #reactor = new AsyncReactor();
  readonly link = new JoinedInterface();
  readonly peer = new UserspaceInterface({ address: "10.0.0.2", mtu: 1400, now: 0 });
  readonly wire = new Wire(this.link, this.peer);
  readonly user = new UserCommands({
    attach: (link) => this.link.attach(link),
    leadsTo: (address) => address === this.peer.address,
    reactor: this.#reactor,
    begin: () => {
      this.link.begin(this.wire.now);
      return this.wire.now;
    },
  });
  readonly answers: Answer[] = [];

  ask(command: LaterCommand): void {
    this.user.begin(command, (answer) => this.answers.push(answer));
    this.user.tick(this.wire.now);
    this.wire.settle();
  }

  [Symbol.dispose](): void {
    this.user[Symbol.dispose]();
    this.#reactor[Symbol.dispose]();
  }
}

Deno.test("begin() pings by address and by name, once there is a stack", () => {
  using scene = new Scene();
  const ping = (host: string): void => scene.ask({ kind: "ping", host, timeoutMs: 1000 });
  assert.throws(() => ping("10.0.0.2"), { code: "no-stack" });
  assert.equal(scene.user.stats(), undefined);
  scene.user.execute({ kind: "set-names", names: [["web", "10.0.0.2"], ["old", "10.0.0.9"]] });
  for (let i = 0; i < 2; i++) {
    scene.user.execute({ kind: "open-stack", address: "10.0.0.1", mtu: 1400 });
  }
  ping("10.0.0.2");
  ping("web");
  assert.deepEqual(
    scene.answers.map((answer) => answer.kind === "pinged" && answer.answer.kind),
    ["reply", "reply"],
  );
  assert.throws(() => ping("db"), { code: "unknown-host" });
  assert.throws(() => ping("10.0.0.1"), { code: "ping-failed" });
  assert.equal(scene.user.stats()?.connections, 0);
});

Deno.test("begin() reads a greeting by name; none comes from where nobody listens", () => {
  using scene = new Scene();
  scene.user.execute({ kind: "set-names", names: [["web", "10.0.0.2"]] });
  scene.user.execute({ kind: "open-stack", address: "10.0.0.1", mtu: 1400 });
  scene.peer.stack.listen({
    port: 22,
    onSyn: (pending) =>
      void pending.accept({
        onOpen: (connection) => void connection.write(new TextEncoder().encode("SSH-2.0-x\r\n")),
      }),
  });
  for (const port of [22, 23]) scene.ask({ kind: "greet", host: "web", port, timeoutMs: 1000 });
  assert.deepEqual(scene.answers, [
    { kind: "greeted", line: "SSH-2.0-x" },
    { kind: "greeted", line: undefined },
  ]);
});

const missing = rootMissing ?? netlabMissing ??
  (libc() === undefined ? "needs FFI on Linux" : undefined) ??
  commandMissing("ip", "ping", "python3");

const PORT = 51820;
const SOCKS_PY = `
import socket, sys
s = socket.create_connection(("127.0.0.1", int(sys.argv[1])), 5)
s.sendall(bytes([5, 1, 0]))
assert s.recv(2) == bytes([5, 0])
s.sendall(bytes([5, 1, 0, 1, 10, 0, 0, 2, 0, 22]))
print(s.makefile("rb").read())
`;
const SERVER_PY = `
import socket
s = socket.create_server(("10.0.0.2", 22))
while True:
    c, _ = s.accept()
    c.sendall(b"SSH-2.0-test\\r\\n")
    c.close()
`;

/** Opens each kind of proxy in plane `a`, and goes through it. */
async function useProxies(plane: RunningPlane, a: Namespace, b: Namespace): Promise<void> {
  const folder = await Deno.makeTempDir({ prefix: "omerta-proxies-" });
  const path = join(folder, "pipe.sock");
  const open = async (id: string, settings: ProxySettings): Promise<number> => {
    const answer = await plane.ask(`proxy ${id} ${JSON.stringify(settings)}`);
    return (answer as { port: number }).port;
  };
  assert.equal(await open("pipe", { kind: "pipe", path }), 0);
  for (
    const [host, expected] of [
      ["10.0.0.2 22", "OK\nSSH-2.0-test\r\n"],
      ["10.0.0.2 23", "ERR refused Connection refused\n"],
      ["web 22", "ERR unknown-host No such host in the tunnel\n"],
    ]
  ) {
    using connection = await Deno.connect({ transport: "unix", path });
    await connection.write(new TextEncoder().encode(`CONNECT ${host}\n`));
    assert.equal(await new Response(connection.readable).text(), expected);
  }
  const listen = { kind: "tcp", address: "127.0.0.1", port: 0 } as const;
  const port = await open("there", { kind: "forward", listen, host: "10.0.0.2", port: 22 });
  const read = (space: Namespace, address: string, at: number): Promise<{ stdout: string }> =>
    space.runChecked("python3", [
      "-c",
      `import socket; print(socket.create_connection(('${address}', ${at}), 5).recv(99))`,
    ]);
  assert.match((await read(a, "127.0.0.1", port)).stdout, /SSH-2\.0-test/);
  const socks = await open("socks", { kind: "socks", listen, credentials: undefined });
  const asked = await a.runChecked("python3", ["-c", SOCKS_PY, `${socks}`]);
  assert.match(asked.stdout, /SSH-2\.0-test/);
  // Back: a port inside that leads to the first forward, and so to b again.
  const to = { ...listen, port };
  assert.equal(await open("back", { kind: "reverse", port: 8022, to }), 8022);
  assert.match((await read(b, "10.0.0.1", 8022)).stdout, /SSH-2\.0-test/);
  const { stack } = await plane.ask("stats") as PlaneStats;
  assert.deepEqual(
    stack?.proxies.map(({ id, connections, failed, listen, to }) => [
      ...[id, connections, failed],
      `${listen} ${to}`,
    ]),
    [
      ["pipe", 3, 2, `${path} undefined`],
      ["there", 2, 0, `127.0.0.1:${port} 10.0.0.2:22`],
      ["socks", 1, 0, `127.0.0.1:${socks} undefined`],
      ["back", 1, 0, `8022 127.0.0.1:${port}`],
    ],
  );
  assert.deepEqual(await plane.ask("close back"), { existed: true });
  assert.deepEqual(await plane.ask("close back"), { existed: false });
  await assert.rejects(read(b, "10.0.0.1", 8022));
  await Deno.remove(folder, { recursive: true });
}

for (const withTun of [false, true]) {
  const what = withTun ? "beside a TUN device" : "without any";
  testIf(missing, `L6: a plane's stack pings and reads a kernel's greeting ${what}`, async () => {
    await using lab = await NetLab.create();
    const [a, b] = [await lab.namespace("a"), await lab.namespace("b")];
    await lab.connect(a, "192.168.77.1/24", b, "192.168.77.2/24");
    const [keyA, keyB] = [generatePrivateKey(), generatePrivateKey()];
    const configA: FixtureConfig = {
      privateKey: keyA.toHex(),
      port: PORT,
      stack: "10.0.0.1",
      ...(withTun ? { tun: { name: "omerta0", address: "10.0.0.1/24" } } : {}),
      peers: [{
        publicKey: publicKeyOf(keyB).toHex(),
        allowedIps: ["10.0.0.2/32"],
        endpoint: ["192.168.77.2", PORT],
      }],
    };
    const configB: FixtureConfig = {
      privateKey: keyB.toHex(),
      port: PORT,
      tun: { name: "omerta0", address: "10.0.0.2/24" },
      peers: [{ publicKey: publicKeyOf(keyA).toHex(), allowedIps: ["10.0.0.1/32"] }],
    };
    await using planeB = await startPlane(b, configB);
    await using planeA = await startPlane(a, configA);
    assert.ok(planeB.text().startsWith("ready"));
    const server = b.spawn("python3", ["-c", SERVER_PY], { stdout: "null", stderr: "null" });
    await until(
      async () => (await b.run("ss", ["-ltnH", "sport", "=", ":22"])).stdout !== "",
      { what: "the server to listen" },
    );
    assert.partialDeepStrictEqual(await planeA.ask("ping 10.0.0.2"), { kind: "reply" });
    assert.deepEqual(await planeA.ask("greet 10.0.0.2 22"), { line: "SSH-2.0-test" });
    assert.deepEqual(await planeA.ask("greet 10.0.0.2 23"), {});
    // The kernels go on beside it: ours where it has the device, theirs against either.
    await b.runChecked("ping", ["-c", "2", "-i", "0.05", "-W", "5", "10.0.0.1"]);
    if (withTun) {
      await a.runChecked("ping", ["-c", "2", "-i", "0.05", "-W", "5", "10.0.0.2"]);
      const { stdout } = await a.runChecked("python3", [
        "-c",
        "import socket; print(socket.create_connection(('10.0.0.2', 22), 5).recv(99))",
      ]);
      assert.match(stdout, /SSH-2\.0-test/);
    }
    await useProxies(planeA, a, b);
    assert.partialDeepStrictEqual(await planeA.ask("stats"), { noTun: 0 });
    server.kill("SIGTERM");
    await server.status;
  });
}
