/**
 * Starts what is compared: Omerta's data plane, passt and slirp4netns, each on the same processor, in
 * the network of bench_net.ts. The guest's end of each is a unix socket, the far end a UDP socket.
 *
 * The generator holds both ends, in the far end's namespace: a unix socket is reached by its path,
 * whatever the namespace.
 *
 * @module
 */

import { join } from "node:path";
import { OmertaError } from "../../../lib/core/errors.ts";
import { exists } from "../../../lib/core/files.ts";
import {
  GATEWAY_ADDRESS,
  GATEWAY_MAC,
  GATEWAY_PORT,
  GUEST_ADDRESS,
} from "../../../net/filter/guest_link.ts";
import { parseMac } from "../../../net/wire/ethernet.ts";
import { parseIpv4 } from "../../../net/wire/ip_address.ts";
import { BenchNet, HOST, NET, pinnedTo } from "./bench_net.ts";
import type { Finding } from "./generator.ts";
import type { LaneConfig } from "./lane_config.ts";
import type { ForwarderConfig } from "./our_forwarder.ts";
import { processors } from "./processors.ts";

const PASST_MAC = "52:54:00:00:64:01";
/** What libslirp gives its gateway and its guest (10.0.2.0/24). */
const SLIRP = { mac: "52:55:0a:00:02:02", gateway: "10.0.2.2", guest: "10.0.2.100" };

const OUR_PORT = 51820;
const FIRST_SINK_PORT = 5000;
const OUR_PROGRAM = new URL("./our_forwarder.ts", import.meta.url).pathname;
const GENERATOR = new URL("./generator.ts", import.meta.url).pathname;

/** The other programs that have to be installed. */
export const OTHERS = ["passt", "slirp4netns"] as const;

/** Everything that runs, and the lanes through it. */
export class Forwarders implements AsyncDisposable {
  /** Ways from a guest to the far end. */
  readonly lanes: LaneConfig[] = [];
  readonly #owned: AsyncDisposableStack;
  readonly #folder: string;
  readonly #net: BenchNet;
  #sinkPort = FIRST_SINK_PORT;

  private constructor(owned: AsyncDisposableStack, folder: string, net: BenchNet) {
    this.#owned = owned;
    this.#folder = folder;
    this.#net = net;
  }

  /** Makes the namespaces; nothing runs yet. */
  static async create(): Promise<Forwarders> {
    await using owned = new AsyncDisposableStack();
    const folder = await Deno.makeTempDir({ prefix: "omerta-bench-" });
    owned.defer(() => Deno.remove(folder, { recursive: true }));
    // passt gives up root before it makes its socket.
    await Deno.chmod(folder, 0o777);
    const bench = owned.use(await BenchNet.create());
    // What systemd sets, and what Omerta sets for its own namespace.
    await bench.net.runChecked("sh", ["-c", "echo 512 > /proc/sys/net/unix/max_dgram_qlen"]);
    return new Forwarders(owned.move(), folder, bench);
  }

  /** Starts all three, with a lane for a far end without offload and one with. */
  async startAll(): Promise<void> {
    await this.startOurs(2, [false, true]);
    await this.startPasst();
    await this.startSlirp();
  }

  /**
   * Starts Omerta's data plane.
   *
   * @param count Guests.
   * @param offloads Whether the far end of the first, second... guest uses offload.
   * @param add Guests to add now; the others are added by {@link OurForwarder.add}.
   */
  async startOurs(
    count: number,
    offloads: readonly boolean[] = [],
    add: number = count,
  ): Promise<OurForwarder> {
    const guests: ForwarderConfig["guests"][number][] = [];
    for (let i = 0; i < count; i++) {
      const cable = join(this.#folder, `cable${i}`);
      guests.push({ cable, guest: `${cable}.guest`, uplink: [NET, this.#sinkPort + i] });
    }
    const config: ForwarderConfig = { port: OUR_PORT, guests };
    const child = this.#net.startForwarder(Deno.execPath(), [
      ...["run", "--quiet", "--allow-all", OUR_PROGRAM, JSON.stringify(config)],
    ], { stdin: "piped", stdout: "piped" });
    const ours = this.#owned.use(new OurForwarder(child));
    await ours.said("ready");
    await ours.add(add);
    for (const [i, { cable, guest }] of guests.entries()) {
      this.lanes.push({
        forwarder: "omerta",
        pid: child.pid,
        kind: "datagram",
        peer: cable,
        local: guest,
        gatewayMac: GATEWAY_MAC,
        gatewayAddress: GATEWAY_ADDRESS,
        guestAddress: GUEST_ADDRESS,
        destination: GATEWAY_ADDRESS,
        destinationPort: GATEWAY_PORT,
        sinkPort: this.#sinkPort++,
        offload: offloads[i] ?? false,
      });
    }
    return ours;
  }

  /** Starts passt. */
  async startPasst(): Promise<void> {
    const path = join(this.#folder, "passt");
    const child = this.#net.startForwarder("passt", [
      ...["--foreground", "--quiet", "--ipv4-only", "--socket", path, "--mac-addr", PASST_MAC],
      ...["--no-map-gw", "--tcp-ports", "none", "--udp-ports", "none", "--dns", "none"],
    ]);
    await this.#net.started(child, "passt", () => exists(path));
    this.#addPair({
      forwarder: "passt",
      pid: child.pid,
      kind: "stream",
      peer: path,
      gatewayMac: mac(PASST_MAC),
      gatewayAddress: ipv4(NET),
      // The guest has the host's address (passt(1)).
      guestAddress: ipv4(HOST),
    });
  }

  /** Starts slirp4netns. */
  async startSlirp(): Promise<void> {
    const path = join(this.#folder, "slirp4netns");
    const child = this.#net.startForwarder("slirp4netns", [
      ...["--target-type=bess", "--disable-dns", "--disable-host-loopback", path],
    ]);
    await this.#net.started(child, "slirp4netns", () => exists(path));
    this.#addPair({
      forwarder: "slirp4netns",
      pid: child.pid,
      kind: "seqpacket",
      peer: path,
      gatewayMac: mac(SLIRP.mac),
      gatewayAddress: ipv4(SLIRP.gateway),
      guestAddress: ipv4(SLIRP.guest),
    });
  }

  /** Runs the generator to its end; what it found, one value for each line that it prints. */
  async generate(
    task: string,
    timeoutMs: number,
    lanes: readonly LaneConfig[] = this.lanes,
  ): Promise<Finding[]> {
    const program = ["run", "--quiet", "--allow-all", GENERATOR, task, JSON.stringify(lanes)];
    const pinned = pinnedTo(processors.generator, Deno.execPath(), program);
    const { stdout } = await this.#net.net.runChecked("taskset", pinned, { timeoutMs });
    return stdout.trim().split("\n").map((line) => JSON.parse(line));
  }

  #addPair(
    lane: Omit<LaneConfig, "destination" | "destinationPort" | "sinkPort" | "offload">,
  ): void {
    for (const offload of [false, true]) {
      const sinkPort = this.#sinkPort++;
      const to = { destination: ipv4(NET), destinationPort: sinkPort };
      this.lanes.push({ ...lane, ...to, sinkPort, offload });
    }
  }

  /** Ends everything and removes the namespaces. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.#owned.disposeAsync();
  }
}

/** Omerta's data plane as a process. */
export class OurForwarder implements AsyncDisposable {
  readonly #child: Deno.ChildProcess;
  readonly #words: ReadableStreamDefaultReader<string>;
  readonly #input: WritableStreamDefaultWriter<Uint8Array>;
  #text = "";

  /** A process with both streams piped. */
  constructor(child: Deno.ChildProcess) {
    this.#child = child;
    this.#words = child.stdout.pipeThrough(new TextDecoderStream()).getReader();
    this.#input = child.stdin.getWriter();
  }

  /** Its process id. */
  get pid(): number {
    return this.#child.pid;
  }

  /** Waits for a word. */
  async said(word: string): Promise<void> {
    while (!this.#text.includes("\n")) {
      const { value, done } = await this.#words.read();
      if (done) throw new OmertaError("bench-failed", "Cannot go on: the data plane has ended");
      this.#text += value;
    }
    const [first = "", ...rest] = this.#text.split("\n");
    this.#text = rest.join("\n");
    if (first === word) return;
    throw new OmertaError("bench-failed", `Cannot go on: got "${first}", want "${word}"`);
  }

  /** Adds the next guests. */
  async add(count: number): Promise<void> {
    for (let i = 0; i < count; i++) {
      await this.#input.write(new Uint8Array(1));
      await this.said("added");
    }
  }

  /** Ends it. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.#input.close();
    await this.#words.cancel();
    await this.#child.status;
  }
}

function mac(text: string): number {
  const value = parseMac(text);
  if (value === undefined) throw new RangeError(`Cannot use ${text} as a MAC address`);
  return value;
}

function ipv4(text: string): number {
  const value = parseIpv4(text);
  if (value === undefined) throw new RangeError(`Cannot use ${text} as an IPv4 address`);
  return value;
}
