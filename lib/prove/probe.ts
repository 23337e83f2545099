/**
 * The probe that runs in the guest as root: cloud-init/probe.py, started over ssh.
 *
 * @module
 */

import { z } from "zod";
import PROBE from "../../cloud-init/probe.py" with { type: "text" };
import { EXIT, OmertaError } from "../core/errors.ts";
import { shellQuote } from "../core/shell_quote.ts";
import { LineProcess } from "./_line_process.ts";
import type { Call } from "./attempt.ts";

/** How long one request may take in a translated guest, in ms. */
const ANSWER_MS = 30_000;
/** Frames in one request: their hex has to fit a line that a slow guest reads at once. */
const FRAMES_PER_REQUEST = 32;

const Hello = z.object({ interface: z.string(), port: z.int(), uid: z.int() });
const FirewallAnswer = z.object({
  /** Of each chain, what becomes of what no rule allows, and how many packets that were. */
  chains: z.record(z.string(), z.object({ policy: z.string(), refused: z.int() })),
  /** Lines in the guest's kernel log about what was refused on its way out. */
  logged: z.int(),
});
const Frames = z.object({ sent: z.int(), why: z.string() });
const Calls = z.object({ answers: z.array(z.string().nullable()), sent: z.int() });
const Scan = z.object({ answered: z.record(z.string(), z.string()) });
const Heard = z.object({ found: z.array(z.string()) });
const Failed = z.object({ error: z.string() });

/** What the guest's own wall is and has refused. */
export type Firewall = z.infer<typeof FirewallAnswer>;

/** By which of the guest's interfaces something is asked. */
export type Way = "cable" | "tunnel";

/** The probe in one guest. */
export class Probe implements AsyncDisposable {
  /** Port of the guest's tunnel. */
  readonly port: number;
  readonly #name: string;
  readonly #process: LineProcess;

  private constructor(name: string, process: LineProcess, port: number) {
    this.#name = name;
    this.#process = process;
    this.port = port;
  }

  /**
   * Starts it.
   *
   * @param spawn Starts a command in the guest, its streams piped.
   * @throws {OmertaError} When it cannot be started there, or is not root.
   */
  static async start(
    name: string,
    spawn: (command: string) => Deno.ChildProcess,
  ): Promise<Probe> {
    const source = new TextEncoder().encode(PROBE);
    // Behind the program, which is as long as that, come the requests.
    const first =
      `import sys; exec(compile(sys.stdin.buffer.read(${source.length}), "probe", "exec"))`;
    const process = new LineProcess(
      `the probe in VM ${name}`,
      spawn(`sudo -n python3 -c ${shellQuote(first)}`),
    );
    await using undo = new AsyncDisposableStack();
    undo.use(process);
    await process.write(source);
    const hello = Hello.parse(await answerOf(name, process, { do: "hello" }));
    if (hello.uid !== 0) {
      throw new OmertaError("probe-not-root", `Cannot probe from VM ${name}: not root in it`, {
        exit: EXIT.missing,
      });
    }
    undo.move();
    return new Probe(name, process, hello.port);
  }

  /** What the guest's own wall is and has refused. */
  async firewall(): Promise<Firewall> {
    return FirewallAnswer.parse(await this.#ask({ do: "firewall" }));
  }

  /** Takes the guest's own wall down. */
  async noFirewall(): Promise<void> {
    const { rules } = z.object({ rules: z.string() }).parse(await this.#ask({ do: "no-firewall" }));
    if (rules === "") return;
    throw new OmertaError("firewall-stays", `Cannot take the firewall of ${this.#name} down`);
  }

  /** Has these addresses reached by the cable, not by the tunnel. */
  async route(addresses: readonly string[]): Promise<void> {
    await this.#ask({ do: "route", to: addresses });
  }

  /** Puts frames on the cable. @returns How many left the guest's kernel, and why not all did. */
  async frames(frames: readonly Uint8Array[]): Promise<{ sent: number; why: string }> {
    const total = { sent: 0, why: "" };
    for (let at = 0; at < frames.length; at += FRAMES_PER_REQUEST) {
      const some = frames.slice(at, at + FRAMES_PER_REQUEST).map((frame) => frame.toHex());
      const { sent, why } = Frames.parse(await this.#ask({ do: "frames", frames: some }));
      total.sent += sent;
      total.why ||= why;
    }
    return total;
  }

  /** Asks by the kernel's sockets. @returns What each was answered, and how many were sent. */
  async calls(by: Way, calls: readonly Call[], say: Uint8Array): Promise<z.infer<typeof Calls>> {
    const asked = calls.map((call) => ({ ...call, say: say.toHex() }));
    return Calls.parse(await this.#ask({ do: "calls", by, calls: asked }));
  }

  /** Ports of a host that said anything, with what they said. */
  async scan(
    by: Way,
    host: string,
    ports: readonly number[],
  ): Promise<Readonly<Record<string, string>>> {
    return Scan.parse(await this.#ask({ do: "scan", by, host, ports })).answered;
  }

  /** Begins to look at every frame in the guest. */
  async beginHearing(): Promise<void> {
    await this.#ask({ do: "hear", nonce: null, ms: 0 });
  }

  /** The first frame that holds the nonce, when one comes in time. */
  async hear(nonce: Uint8Array, ms: number): Promise<Uint8Array | undefined> {
    const { found } = Heard.parse(await this.#ask({ do: "hear", nonce: nonce.toHex(), ms }));
    return found[0] === undefined ? undefined : Uint8Array.fromHex(found[0]);
  }

  #ask(question: { readonly do: string; readonly [field: string]: unknown }): Promise<unknown> {
    return answerOf(this.#name, this.#process, question);
  }

  /** Ends it. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.#process[Symbol.asyncDispose]();
  }
}

async function answerOf(name: string, process: LineProcess, question: unknown): Promise<unknown> {
  const answer = await process.ask(question, ANSWER_MS);
  const failed = Failed.safeParse(answer);
  if (!failed.success) return answer;
  throw new OmertaError("probe-failed", `Cannot probe from VM ${name}: ${failed.data.error}`);
}
