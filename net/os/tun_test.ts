import assert from "node:assert/strict";
import { type Namespace, NetLab, netlabMissing } from "../../tests/netlab/netlab.ts";
import { commandMissing, rootMissing, testIf } from "../../tests/support/requires.ts";
import { run } from "../../lib/core/process.ts";
import { until } from "../../tests/support/until.ts";
import { libc } from "./libc.ts";
import { openTapLinux } from "./tap_linux.ts";
import { openTun } from "./tun.ts";

const missing = rootMissing ?? netlabMissing ??
  (libc() === undefined ? "needs FFI on Linux" : undefined) ?? commandMissing("ip", "ping");

/** An interface name nobody else has. */
function freshName(): string {
  return `omt${crypto.randomUUID().slice(0, 8)}`;
}

/** Starts the fixture in a namespace and waits until its device is up. */
async function start(space: Namespace, ...args: string[]): Promise<AsyncDisposable> {
  const child = space.spawn(
    Deno.execPath(),
    ["run", "-A", new URL("_tun_fixture.ts", import.meta.url).pathname, ...args],
    { stdin: "piped", stdout: "piped" },
  );
  const reader = child.stdout.getReader();
  const { value } = await reader.read();
  assert.equal(new TextDecoder().decode(value), "ready\n");
  return {
    async [Symbol.asyncDispose](): Promise<void> {
      await child.stdin.close();
      await reader.cancel();
      await child.status;
    },
  };
}

testIf(missing, "L5: the system's ping reaches an echo behind a TUN device", async () => {
  await using lab = await NetLab.create();
  const space = await lab.namespace("tun");
  await using _echo = await start(space, "echo", "omerta0", "10.0.0.1/16");
  const shown = await space.runChecked("ip", ["address", "show", "dev", "omerta0"]);
  assert.match(shown.stdout, /inet 10\.0\.0\.1\/16 /);
  assert.match(shown.stdout, /mtu 1400 /);
  assert.match(shown.stdout, /[<,]UP[,>]/);
  const ping = await space.runChecked("ping", ["-c", "5", "-i", "0.05", "-W", "5", "10.0.7.7"]);
  assert.match(ping.stdout, /5 packets transmitted, 5 received/);
  // Longer than the MTU: the kernel cuts it into fragments, which are not echoed as such.
  const small = await space.runChecked("ping", ["-c", "1", "-W", "5", "-s", "1372", "10.0.7.7"]);
  assert.match(small.stdout, /1 received/);
});

testIf(
  missing ?? commandMissing("iperf3"),
  "L5: TCP, UDP and ping go through two TUN devices joined by UDP, with offloads",
  async () => {
    await using lab = await NetLab.create();
    const [a, b] = [await lab.namespace("a"), await lab.namespace("b")];
    await lab.connect(a, "192.168.9.1/24", b, "192.168.9.2/24");
    await using _a = await start(
      a,
      "pipe",
      "omerta0",
      "10.0.0.1/16",
      "7000",
      "192.168.9.2",
      "7001",
    );
    await using _b = await start(
      b,
      "pipe",
      "omerta0",
      "10.0.0.2/16",
      "7001",
      "192.168.9.1",
      "7000",
    );
    const ping = await a.runChecked("ping", ["-c", "3", "-i", "0.05", "-W", "5", "10.0.0.2"]);
    assert.match(ping.stdout, /3 received/);
    const server = b.spawn("iperf3", ["-s"], { stdout: "null", stderr: "null" });
    await until(async () => {
      const listening = await b.run("ss", ["-ltnH", "sport", "=", ":5201"]);
      return listening.stdout !== "";
    }, { what: "iperf3 to listen" });
    for (
      const extra of [[], ["-R"], ["-P", "4"], ["-M", "999"], ["-u", "-b", "20M", "-l", "100"]]
    ) {
      const result = await a.runChecked("iperf3", [
        ..."-c 10.0.0.2 -n 4M -J".split(" "),
        ...extra,
      ]);
      const end = JSON.parse(result.stdout).end;
      // The program ends with an error unless the other side confirms; its count of bytes received
      // ends with the sender's last write.
      const bytes = end.sum_sent?.bytes ?? end.sum.bytes;
      assert.ok(bytes >= 4_000_000, `${bytes} bytes were sent with ${extra.join(" ")}`);
    }
    server.kill("SIGTERM");
    await server.status;
    // No segment reached the other side with a wrong checksum.
    for (const space of [a, b]) {
      const { stdout } = await space.runChecked("cat", ["/proc/net/snmp"]);
      const rows = stdout.split("\n").filter((line) => line.startsWith("Tcp:"))
        .map((line) => line.split(" "));
      const errors = rows[1]?.[rows[0]?.indexOf("InCsumErrors") ?? -1];
      assert.equal(errors, "0");
    }
  },
);

testIf(missing, "openTun() says interface-in-use when the name is taken", () => {
  const name = freshName();
  using _first = openTun({ name });
  assert.throws(() => openTun({ name }), (error: Error & { code?: string; next?: string }) => {
    assert.equal(error.code, "interface-in-use");
    assert.ok(error.message.includes(name) && error.next?.includes("choose another name"));
    return true;
  });
});

testIf(missing, "openTun() does not take over a persistent device", async () => {
  const name = freshName();
  await run("ip", ["tuntap", "add", "dev", name, "mode", "tun"]);
  try {
    assert.throws(() => openTun({ name }), { code: "interface-in-use" });
  } finally {
    await run("ip", ["tuntap", "del", "dev", name, "mode", "tun"]);
  }
});

testIf(missing, "openTun() leaves no interface when it is disposed, or when it fails", async () => {
  const name = freshName();
  {
    using tun = openTun({ name, address: "10.213.7.1/30", mtu: 1380 });
    assert.equal(tun.name, name);
    assert.match((await run("ip", ["link", "show", name])).stdout, /mtu 1380 /);
  }
  assert.equal((await run("ip", ["link", "show", name])).code, 1);
  assert.throws(() => openTun({ name, address: "10.0.0.1" }), { code: "bad-address" });
  assert.throws(() => openTun({ name, mtu: 1 }), { code: "interface-failed" });
  assert.equal((await run("ip", ["link", "show", name])).code, 1);
});

for (const name of ["", "a b", "sixteen-letters!", "a/b", "..", "tun%d"]) {
  testIf(missing, `openTun("${name}") refuses the name`, () => {
    assert.throws(() => openTun({ name }), { code: "bad-interface-name" });
  });
}

testIf(missing, "openTapLinux() reads whole frames and writes them", async () => {
  const name = freshName();
  using tap = openTapLinux({ name, address: "10.213.8.1/30" });
  const frames: Uint8Array[] = [];
  const handler = {
    receive: (buffer: Uint8Array, at: number, length: number): void => {
      frames.push(buffer.slice(at, at + length));
    },
  };
  // ARP for the neighbour that is not there.
  const ping = run("ping", ["-c", "1", "-W", "1", "10.213.8.2"]);
  const arp = await until(() => {
    tap.drain(handler, 32);
    return frames.find((frame) => frame[12] === 0x08 && frame[13] === 0x06);
  }, { what: "an ARP request" });
  assert.equal(arp.subarray(28, 32).toHex(), "0ad50801");
  const at = tap.out.reserve(arp.length);
  tap.out.buffer.set(arp, at);
  tap.out.commit(arp.length);
  assert.equal(tap.counters.sent, 1);
  await ping;
});
