/**
 * The packet thread's side of a {@link Plane}: takes commands, runs the loop, reports.
 *
 * The thread blocks in `poll`, so messages reach it only when it lets its event loop turn. The main
 * thread counts each command in shared memory, posts it, and writes to the wake-up descriptor; the loop
 * then yields until as many commands have arrived as were counted.
 *
 * @module
 */

import { randomBytes } from "node:crypto";
import { openCable } from "../os/cable.ts";
import { openReactor, type Reactor } from "../os/reactor.ts";
import { openTun } from "../os/tun.ts";
import { openUdp } from "../os/udp.ts";
import {
  type Answer,
  type CommandMessage,
  partsOf,
  type PlaneMessage,
  type StartMessage,
} from "./_messages.ts";
import { Gate, SHARED } from "./gate.ts";
import { type LoopCommand, PacketLoop } from "./packet_loop.ts";
import type { LaterCommand } from "./user_commands.ts";

/** What a worker's global object has on top of that of a main thread. */
interface WorkerScope extends EventTarget {
  postMessage(message: PlaneMessage): void;
  close(): void;
}

/** How long the loop waits for a command that was counted but does not come, before it goes on. */
const PATIENCE_MS = 100;

/** Serves as a packet thread; to be called once, by a main module that finds itself a worker. */
export function servePlane(): void {
  const server = new PlaneServer(globalThis as unknown as WorkerScope);
  globalThis.addEventListener("message", (event) => {
    if (event instanceof MessageEvent) server.take(event.data);
  });
  server.hello();
}

class PlaneServer {
  readonly #scope: WorkerScope;
  #commands: Int32Array = new Int32Array(0);
  #arrived = 0;
  // Executed between rounds, not on arrival: a main thread that asks again at once would otherwise
  // keep this one from its packets.
  readonly #queue: { ticket: number; command: LoopCommand | LaterCommand }[] = [];
  #loop: PacketLoop | undefined;
  #reactor: Reactor | undefined;

  constructor(scope: WorkerScope) {
    this.#scope = scope;
  }

  hello(): void {
    this.#scope.postMessage({ kind: "hello" });
  }

  take({ ticket, command }: CommandMessage): void {
    this.#arrived = (this.#arrived + 1) | 0;
    this.#reactor?.wake();
    if (command.kind === "start") void this.#serve(ticket, command.start);
    else this.#queue.push({ ticket, command });
  }

  #answer(ticket: number, work: () => Answer): boolean {
    let answer: Answer;
    try {
      answer = work();
    } catch (error) {
      answer = { kind: "error", error: partsOf(error) };
    }
    this.#post(ticket, answer);
    return answer.kind !== "error";
  }

  #post(ticket: number, answer: Answer): void {
    if (ticket !== 0) this.#scope.postMessage({ kind: "answer", ticket, answer });
  }

  async #serve(ticket: number, start: StartMessage): Promise<void> {
    using owned = new DisposableStack();
    const started = this.#answer(ticket, () => {
      const shared = new Int32Array(start.shared);
      this.#commands = shared;
      const reactor = owned.use(openReactor(start.wakeFd));
      this.#reactor = reactor;
      const loop = owned.use(
        new PacketLoop({
          port: start.port,
          privateKey: start.privateKey,
          tun: start.tun,
          os: { openUdp, openCable, openTun, reactor },
          gate: new Gate(shared, randomBytes(4).readInt32LE()),
          post: (event) => this.#scope.postMessage({ kind: "event", event }),
        }),
      );
      start.privateKey.fill(0);
      this.#loop = loop;
      return { kind: "started", port: loop.port, tunName: loop.tunName };
    });
    try {
      const loop = this.#loop;
      if (started && loop !== undefined) {
        await loop.run(() => this.#isIdle() ? undefined : this.#runCommands(loop));
      }
    } catch (error) {
      this.#scope.postMessage({ kind: "failed", error: partsOf(error) });
    } finally {
      // First everything is closed, then this is said.
      owned.dispose();
      this.#scope.postMessage({ kind: "closed" });
      this.#scope.close();
    }
  }

  #isIdle(): boolean {
    return this.#queue.length === 0 && this.#announced() === this.#arrived;
  }

  #announced(): number {
    return Atomics.load(this.#commands, SHARED.commands);
  }

  /** Lets the commands come in that are announced now, and runs them. */
  async #runCommands(loop: PacketLoop): Promise<void> {
    const target = this.#announced();
    const deadline = performance.now() + PATIENCE_MS;
    while (((target - this.#arrived) | 0) > 0 && performance.now() < deadline) {
      await new Promise<void>((resolve) => setImmediate(resolve));
    }
    for (const { ticket, command } of this.#queue.splice(0)) {
      if (command.kind !== "ping" && command.kind !== "greet") {
        this.#answer(ticket, () => loop.execute(command));
        continue;
      }
      try {
        loop.begin(command, (answer) => this.#post(ticket, answer));
      } catch (error) {
        this.#post(ticket, { kind: "error", error: partsOf(error) });
      }
    }
  }
}
