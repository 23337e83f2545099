/**
 * A network namespace in which the kernel's TCP meets a userspace stack through a TUN device.
 *
 * @module
 */

import assert from "node:assert/strict";
import { libc } from "../../net/os/libc.ts";
import type { TcpStats } from "../../net/tcp/connection.ts";
import type { PingAnswer } from "../../net/tcp/ping.ts";
import { type Namespace, NetLab, netlabMissing } from "../netlab/netlab.ts";
import { commandMissing, rootMissing } from "../support/requires.ts";
import type { CrowdCommand, CrowdResult } from "./_tcp_crowd.ts";
import type { BadLineOptions } from "./_bad_line.ts";
import { Talk } from "../support/talk.ts";
import type { Job, JobResult } from "./tcp_client.ts";
import type { CrowdPlan } from "./tcp_crowd.ts";
import type { NodeResult, TcpNodeConfig } from "./tcp_node.ts";

/** Why there can be none here; undefined: there can. */
export const rigMissing: string | undefined = rootMissing ?? netlabMissing ??
  (libc() === undefined ? "needs FFI on Linux" : undefined) ?? commandMissing("ip", "ping", "ss");

/** The TUN device between them. */
export const DEVICE = "omt0";
/** The kernel's address. */
export const KERNEL = "10.9.0.1";
/** The stack's address. */
export const STACK = "10.9.0.2";
const NODE = new URL("./tcp_node.ts", import.meta.url).pathname;
const CROWD = new URL("./tcp_crowd.ts", import.meta.url).pathname;
const CLIENT = new URL("./tcp_client.ts", import.meta.url).pathname;

/** Descriptors that a program beside those of its connections needs. */
const SPARE_DESCRIPTORS = 100;

/** Why the kernel's side cannot hold so many connections here; undefined: it can. */
export function crowdMissing(count: number): string | undefined {
  const most = count + SPARE_DESCRIPTORS;
  const { success } = new Deno.Command("sh", {
    args: ["-c", `ulimit -n ${most}`],
    stderr: "null",
  }).outputSync();
  return success ? undefined : `needs ${most} descriptors`;
}

/** Runs some connections of the kernel's in a namespace, all at the same time. */
export async function runJobs(space: Namespace, jobs: readonly Job[]): Promise<JobResult[]> {
  const args = ["run", "-A", CLIENT, JSON.stringify(jobs)];
  const { stdout } = await space.runChecked(Deno.execPath(), args, { timeoutMs: 90_000 });
  return JSON.parse(stdout);
}

/** What a {@link Rig} is made of. */
export interface RigOptions {
  /** Largest packet, in bytes. @default {1500} */
  readonly mtu?: number;
  /** What happens to packets, in each direction. @default {nothing} */
  readonly line?: BadLineOptions;
}

/** A namespace with a stack behind a TUN device. */
export class Rig implements AsyncDisposable {
  /** Where both are. */
  readonly space: Namespace;
  /** What the namespace belongs to. */
  readonly lab: NetLab;
  readonly #talk: Talk;

  private constructor(lab: NetLab, space: Namespace, talk: Talk) {
    this.lab = lab;
    this.space = space;
    this.#talk = talk;
  }

  /** Starts the stack. */
  static async start({ mtu = 1500, line }: RigOptions = {}): Promise<Rig> {
    const lab = await NetLab.create();
    const space = await lab.namespace("tcp");
    const config: TcpNodeConfig = {
      tun: DEVICE,
      kernel: `${KERNEL}/24`,
      address: STACK,
      mtu,
      ...(line === undefined ? {} : { line }),
    };
    const args = ["run", "-A", "--v8-flags=--expose-gc", NODE, JSON.stringify(config)];
    const child = space.spawn(Deno.execPath(), args, { stdin: "piped", stdout: "piped" });
    const rig = new Rig(lab, space, new Talk(child));
    assert.equal(await rig.#talk.line(), "ready");
    return rig;
  }

  /** Runs the kernel's side of some connections, all at the same time. */
  async kernel(jobs: readonly Omit<Job, "host">[]): Promise<JobResult[]> {
    const list = jobs.map((job) => ({ ...job, host: job.kind === "serve" ? KERNEL : STACK }));
    return await runJobs(this.space, list);
  }

  /** Starts connections of the kernel's that read late: after any line, whose answer is the results. */
  kernelLate(jobs: readonly Omit<Job, "host">[]): Talk {
    const list = jobs.map((job): Job => ({ ...job, host: STACK }));
    const args = ["run", "-A", CLIENT, JSON.stringify(list)];
    return new Talk(this.space.spawn(Deno.execPath(), args, { stdin: "piped", stdout: "piped" }));
  }

  /** Has the stack connect somewhere; how it went. */
  async connect(to: string, port: number, bytes: number, connectMs?: number): Promise<NodeResult> {
    return await this.#talk.ask(JSON.stringify({ to, port, bytes, connectMs }));
  }

  /** Has the stack ping somebody; the answer. */
  async ping(to: string): Promise<PingAnswer> {
    return await this.#talk.ask(JSON.stringify({ ping: to }));
  }

  /** What the stack has counted, and how full it is. */
  async counters(): Promise<Record<string, number>> {
    return await this.#talk.ask("counters");
  }

  /** How the connection does that sends, the last one opened. */
  async sending(): Promise<Partial<TcpStats>> {
    return await this.#talk.ask("sending");
  }

  /** Lets the slow reader read. */
  async read(): Promise<void> {
    await this.#talk.ask("read");
  }

  /** Bytes of memory that the stack's program holds. */
  async memory(): Promise<number> {
    return await this.#talk.ask("memory");
  }

  /** Has thousands of connections of the stack do something; how many did. */
  async crowd(command: CrowdCommand): Promise<CrowdResult> {
    return await this.#talk.ask(JSON.stringify(command));
  }

  /** Starts the kernel's side of thousands of connections. */
  async kernelCrowd(plan: Omit<CrowdPlan, "host" | "listenHost">): Promise<Talk> {
    const whole: CrowdPlan = { ...plan, host: STACK, listenHost: KERNEL };
    const descriptors = String(plan.count + plan.served + SPARE_DESCRIPTORS);
    const raise = '[ "$(ulimit -n)" -ge "$1" ] || ulimit -n "$1"; shift; exec "$@"';
    const talk = new Talk(
      this.space.spawn(
        "sh",
        [
          "-c",
          raise,
          "sh",
          descriptors,
          Deno.execPath(),
          "run",
          "-A",
          CROWD,
          JSON.stringify(whole),
        ],
        { stdin: "piped", stdout: "piped" },
      ),
    );
    assert.equal(await talk.line(), "ready");
    return talk;
  }

  /** A counter of the kernel's TCP, e.g. `InCsumErrors`, `TCPOFOQueue`. */
  async snmp(name: string): Promise<number> {
    const files = ["/proc/net/snmp", "/proc/net/netstat"];
    const { stdout } = await this.space.runChecked("cat", files);
    const rows = stdout.split("\n").filter((line) => /^Tcp(Ext)?:/.test(line))
      .map((line) => line.split(" "));
    const names = rows.findIndex((row) => row.includes(name));
    return Number(rows[names + 1]?.[rows[names]?.indexOf(name) ?? -1]);
  }

  /** Ends the stack and takes the namespace away. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.#talk[Symbol.asyncDispose]();
    await this.lab[Symbol.asyncDispose]();
  }
}
