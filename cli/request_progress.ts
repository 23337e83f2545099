/**
 * The stages of a VM that comes up, printed as they are reached, and at the bottom of the terminal
 * what is being waited for.
 *
 * @module
 */

import type { RequestEvent } from "../lib/api/schemas.ts";
import { STAGES } from "../vm/stages.ts";
import { StatusLine, warn } from "./output.ts";

/** How often the line that says what is being waited for is written anew, in ms. */
const STATUS_MS = 500;

/** Shows how far a request is. */
export class RequestProgress implements Disposable {
  readonly #line = new StatusLine();
  readonly #say: ((line: string) => void) | undefined;
  readonly #since = Date.now();
  readonly #timer: ReturnType<typeof setInterval>;
  #waitingFor = "the lender";

  /**
   * Begins to show.
   *
   * @param say Prints a line; without it nothing is shown.
   */
  constructor(say?: (line: string) => void) {
    this.#say = say;
    this.#timer = setInterval(() => this.#update(), STATUS_MS);
  }

  /** Shows a step. */
  take(event: RequestEvent): void {
    if (!this.#say) return;
    this.#line.clear();
    if (event.kind === "reachable") {
      this.#say(`Provider reachable: ${event.latencyMs}ms latency (${event.endpoint})`);
    } else if (event.kind === "accepted") {
      if (event.accelerator === "tcg") {
        warn("The lender has no hardware acceleration: the VM is translated and many times slower");
      }
    } else if (event.kind === "stage") {
      this.#say(`  ${event.stage.padEnd(12)}${(event.atMs / 1000).toFixed(1).padStart(6)} s`);
      const next = STAGES[STAGES.findIndex((stage) => stage === event.stage) + 1];
      this.#waitingFor = next ?? "the end";
    }
    this.#update();
  }

  #update(): void {
    if (!this.#say) return;
    const seconds = Math.round((Date.now() - this.#since) / 1000);
    this.#line.show(`  waiting for ${this.#waitingFor} (${seconds} s)`);
  }

  /** Ends it, before something else is printed. */
  clear(): void {
    clearInterval(this.#timer);
    this.#line.clear();
  }

  /** Ends it. */
  [Symbol.dispose](): void {
    this.clear();
  }
}
