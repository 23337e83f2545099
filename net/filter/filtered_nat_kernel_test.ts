/**
 * A Linux kernel as the guest: a TAP device inside a network namespace, whose other end is the
 * filter. The kernel resolves the gateway by ARP and verifies every checksum of what it gets.
 *
 * @module
 */

import assert from "node:assert/strict";
import { type Namespace, NetLab, netlabMissing } from "../../tests/netlab/netlab.ts";
import { wireguardMessage } from "../../tests/doubles/guest_frames.ts";
import { commandMissing, testIf } from "../../tests/support/requires.ts";
import { until } from "../../tests/support/until.ts";
import { run, runChecked } from "../../lib/core/process.ts";
import { Endpoint } from "../os/endpoint.ts";
import { libc } from "../os/libc.ts";
import type { PacketHandler, PacketSocket } from "../os/packet_socket.ts";
import type { DatagramSink, PacketSink } from "../os/sink.ts";
import { openTapLinux } from "../os/tap_linux.ts";
import { formatMac } from "../wire/ethernet.ts";
import { formatFrame } from "../wire/format.ts";
import { FilteredNat } from "./filtered_nat.ts";
import { GATEWAY_MAC, GUEST_MAC, guestLink } from "./guest_link.ts";
import { countsByReason, isRefusal, REASONS } from "./verdict.ts";

// The C library stays open for the life of the thread: opened here, it is no leak of a test.
libc();

const missing = netlabMissing ??
  (await exists("/dev/net/tun") ? undefined : "needs /dev/net/tun");

/** How long the client in the namespace waits for replies, in ms. */
const CLIENT_MS = 15_000;

/**
 * Sends messages from inside the namespace, one after the other, and prints what came back as JSON
 * once that are `expect` messages.
 */
const CLIENT = `
import { createSocket } from "node:dgram";
const { port, lengths, expect, limitMs } = JSON.parse(Deno.args[0]);
const types = { 148: 1, 92: 2, 64: 3 };
const socket = createSocket("udp4");
const got = [];
const end = () => { clearTimeout(limit); socket.close(); console.log(JSON.stringify(got)); };
const limit = setTimeout(end, limitMs);
socket.on("message", (message, from) => {
  got.push({ from: from.address + ":" + from.port, hex: message.toString("hex") });
  if (got.length === expect) end();
});
await new Promise((resolve) => socket.bind(port, "192.168.100.2", resolve));
for (const length of lengths) {
  const message = new Uint8Array(length).map((_, i) => i);
  message.set([types[length] ?? 4, 0, 0, 0]);
  await new Promise((resolve) => socket.send(message, 51820, "192.168.100.1", resolve));
}
`;

async function exists(path: string): Promise<boolean> {
  return await Deno.stat(path).then(() => true, () => false);
}

/** An uplink that answers each datagram with the same bytes. */
class EchoSink implements DatagramSink {
  readonly buffer = new Uint8Array(2048);
  nat: FilteredNat | undefined;

  reserve(size: number): number {
    return size <= this.buffer.length ? 0 : -1;
  }

  commit(length: number, to: Endpoint): void {
    this.nat?.fromUplink(this.buffer, 0, length, to.sockaddr, 0);
  }

  flush(): void {
    // Answered already.
  }
}

/** Spoils one byte of UDP frames of one length before the kernel gets them. */
class SpoilingSink implements PacketSink {
  readonly #inner: PacketSink;
  #at = 0;
  /** Payload length of the frames that are spoiled, and which byte of the frame. */
  spoil: { readonly length: number; readonly at: number } | undefined;

  constructor(inner: PacketSink) {
    this.#inner = inner;
  }

  get buffer(): Uint8Array {
    return this.#inner.buffer;
  }

  reserve(size: number): number {
    this.#at = this.#inner.reserve(size);
    return this.#at;
  }

  commit(length: number): void {
    if (this.spoil !== undefined && length === 42 + this.spoil.length) {
      const at = this.#at + this.spoil.at;
      this.buffer[at] = (this.buffer[at] ?? 0) ^ 0x10;
    }
    this.#inner.commit(length);
  }

  flush(): void {
    this.#inner.flush();
  }
}

/** A kernel in a namespace, a cable, and the filter at its other end. */
class KernelGuest implements AsyncDisposable {
  readonly refused: string[] = [];
  readonly sink: SpoilingSink;
  readonly nat: FilteredNat;
  readonly namespace: Namespace;
  readonly #lab: NetLab;
  readonly #tap: PacketSocket;
  readonly #handler: PacketHandler;

  private constructor(lab: NetLab, namespace: Namespace, tap: PacketSocket) {
    this.#lab = lab;
    this.namespace = namespace;
    this.#tap = tap;
    this.sink = new SpoilingSink(tap.out);
    const uplink = Endpoint.of("203.0.113.7", 51999);
    const toUplink = new EchoSink();
    this.nat = new FilteredNat({ guest: guestLink(), uplink, toUplink, toGuest: this.sink });
    toUplink.nat = this.nat;
    this.#handler = {
      receive: (buffer, at, length) => {
        const verdict = this.nat.fromGuest(buffer, at, length);
        if (!isRefusal(verdict)) return;
        this.refused.push(`${REASONS[verdict]}: ${formatFrame(buffer, at, length)}`);
      },
    };
  }

  static async boot(): Promise<KernelGuest> {
    await using owned = new AsyncDisposableStack();
    const lab = owned.use(await NetLab.create());
    const namespace = await lab.namespace("guest");
    const name = `omtap${crypto.randomUUID().slice(0, 8)}`;
    const tap = owned.use(openTapLinux({ name, mtu: 1500 }));
    const rename = ["netns", namespace.name, "name", "eth0"];
    await runChecked("ip", ["link", "set", name, "down"]);
    await runChecked("ip", ["link", "set", name, ...rename, "address", formatMac(GUEST_MAC)]);
    await namespace.addAddress("eth0", "192.168.100.2/24");
    await namespace.setLink("eth0", "up");
    await namespace.route("add", "default", "via", "192.168.100.1");
    owned.move();
    return new KernelGuest(lab, namespace, tap);
  }

  /** Carries frames until the work is done. */
  async during<T>(work: Promise<T>): Promise<T> {
    let done = false;
    const mark = (): void => {
      done = true;
    };
    work.then(mark, mark);
    await until(() => {
      this.#tap.drain(this.#handler, 256);
      this.nat.flush();
      return done;
    }, { what: "the guest to finish", timeoutMs: 30_000 });
    return await work;
  }

  /** Sends a message of each length to the gateway; what came back, once it is `expect` messages. */
  async talk(
    lengths: readonly number[],
    expect = lengths.length,
  ): Promise<{ from: string; hex: string }[]> {
    const options = JSON.stringify({ port: 40000, lengths, expect, limitMs: CLIENT_MS });
    const { stdout } = await this.during(
      this.namespace.runChecked(Deno.execPath(), ["eval", CLIENT, options]),
    );
    return JSON.parse(stdout);
  }

  /** A counter of the kernel, e.g. `Udp InCsumErrors`. */
  async kernelCounter(protocol: string, name: string): Promise<number> {
    const { stdout } = await this.namespace.runChecked("cat", ["/proc/net/snmp"]);
    const rows = stdout.split("\n").filter((row) => row.startsWith(`${protocol}: `));
    const [names, values] = rows.map((row) => row.split(" "));
    return Number(values?.[names?.indexOf(name) ?? -1]);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#tap[Symbol.dispose]();
    await this.#lab[Symbol.asyncDispose]();
  }
}

testIf(missing, "N5: a Linux kernel finds the gateway and accepts the replies", async () => {
  await using guest = await KernelGuest.boot();
  const lengths = [148, 92, 64, 32, 1452, 1472];
  const got = await guest.talk(lengths);
  const types = new Map([[148, 1], [92, 2], [64, 3]]);
  const sent = lengths.map((length) => ({
    from: "192.168.100.1:51820",
    hex: wireguardMessage(length, types.get(length) ?? 4).toHex(),
  }));
  assert.deepEqual(got, sent);
  const neighbours = await guest.namespace.run("ip", ["neigh", "show", "192.168.100.1"]);
  assert.match(neighbours.stdout, new RegExp(`lladdr ${formatMac(GATEWAY_MAC)} `));
  const counts = countsByReason(guest.nat.counters.fromGuest);
  assert.equal(counts.forwarded, lengths.length);
  assert.ok((counts.answered ?? 0) >= 1);
  assert.equal(await guest.kernelCounter("Udp", "InCsumErrors"), 0);
  assert.equal(await guest.kernelCounter("Ip", "InHdrErrors"), 0);
});

const spoiled = [
  { what: "the UDP checksum", at: 40, protocol: "Udp", counter: "InCsumErrors" },
  { what: "a payload byte", at: 60, protocol: "Udp", counter: "InCsumErrors" },
  { what: "the TTL", at: 22, protocol: "Ip", counter: "InHdrErrors" },
];

for (const { what, at, protocol, counter } of spoiled) {
  testIf(missing, `N5: the same kernel drops a reply with a spoiled byte: ${what}`, async () => {
    await using guest = await KernelGuest.boot();
    guest.sink.spoil = { length: 96, at };
    // The message of 112 bytes is the control: it follows, is not spoiled and comes back.
    const got = await guest.talk([96, 112], 1);
    assert.deepEqual(got.map(({ hex }) => hex.length / 2), [112]);
    assert.equal(await guest.kernelCounter(protocol, counter), 1);
    assert.equal(countsByReason(guest.nat.counters.fromUplink).forwarded, 2);
  });
}

testIf(
  missing ?? commandMissing("tcpdump", "timeout"),
  "N5: tcpdump finds every reply well formed",
  async () => {
    await using guest = await KernelGuest.boot();
    const capture = guest.namespace.spawn("timeout", [
      ...["20", "tcpdump", "-i", "eth0", "-nn", "-vv", "-l", "-Q", "in", "-c", "3"],
      "udp or arp",
    ], { stdout: "piped", stderr: "piped" });
    const errors = capture.stderr.pipeThrough(new TextDecoderStream()).getReader();
    let said = "";
    while (!said.includes("listening on")) {
      const { value, done } = await errors.read();
      assert.ok(!done, `tcpdump ended: ${said}`);
      said += value;
    }
    assert.equal((await guest.talk([32, 1452])).length, 2);
    const text = await new Response(capture.stdout).text();
    await errors.cancel();
    await capture.status;
    assert.match(text, /ARP.* Reply 192\.168\.100\.1 is-at 02:00:00:00:64:01/);
    assert.equal(text.match(/\[udp sum ok\] UDP, length (?:32|1452)/g)?.length, 2, text);
    assert.doesNotMatch(text, /bad|incorrect|invalid/);
  },
);

testIf(
  missing ?? commandMissing("bash", "ping", "timeout"),
  "N6: a kernel that tries other ways gets nowhere, and each try is named",
  async () => {
    await using guest = await KernelGuest.boot();
    // All at once, each ended after a second.
    const tries = [
      "timeout -s KILL 1 ping -n -c 1 192.168.100.1",
      "timeout -s KILL 1 ping -n -c 1 8.8.8.8",
      "timeout -s KILL 1 ping -n -c 1 192.168.100.3",
      "bash -c 'echo x > /dev/udp/192.168.100.1/53'",
      "bash -c 'echo x > /dev/udp/1.1.1.1/53'",
      "bash -c 'echo x > /dev/udp/192.168.100.1/51820'",
      "timeout -s KILL 1 bash -c 'echo x > /dev/tcp/192.168.100.1/22'",
      "wait",
    ].join(" & ");
    await guest.during(run("ip", ["netns", "exec", guest.namespace.name, "bash", "-c", tries]));
    const refused = guest.refused.join("\n");
    assert.match(refused, /^protocol: ICMP 192\.168\.100\.2 > 192\.168\.100\.1 echo request/m);
    assert.match(refused, /^destination: ICMP 192\.168\.100\.2 > 8\.8\.8\.8 echo request/m);
    assert.match(refused, /^arp: ARP who-has 192\.168\.100\.3 tell 192\.168\.100\.2/m);
    assert.match(refused, /^port: UDP 192\.168\.100\.2:\d+ > 192\.168\.100\.1:53 len 2/m);
    assert.match(refused, /^destination: UDP 192\.168\.100\.2:\d+ > 1\.1\.1\.1:53 len 2/m);
    assert.match(
      refused,
      /^not-wireguard: UDP 192\.168\.100\.2:\d+ > 192\.168\.100\.1:51820 len 2/m,
    );
    assert.match(refused, /^protocol: TCP 192\.168\.100\.2:\d+ > 192\.168\.100\.1:22 SYN len 0/m);
    assert.match(refused, /^ipv6: Ethernet /m);
    assert.equal(countsByReason(guest.nat.counters.fromGuest).forwarded, undefined);
    // The control: the same kernel, by the one way there is.
    assert.equal((await guest.talk([148])).length, 1);
  },
);
