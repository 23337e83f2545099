/**
 * Thousands of connections of a stack at once: opened by it, each says something and hears it again,
 * then half of them are reset and half end in order.
 *
 * @module
 */

import type { CloseReason, TcpConnection, TcpHandler } from "../../net/tcp/connection.ts";
import type { Stack } from "../../net/tcp/stack.ts";

/** Bytes that one member of a crowd says at a time: they fit into one segment. */
export const SAYS_BYTES = 200;
/** Connections that are opened at the same time: fewer than may be half-open from one address. */
export const WAVE = 250;

/** What member `i` says, other than any other and than the last time. */
export function crowdMessage(i: number, round: number): Uint8Array {
  return new Uint8Array(SAYS_BYTES).map((_, k) =>
    (Math.imul(i * 7 + round, 0x9e3779b1) >>> (k & 15)) + k & 255
  );
}

/** A command to a {@link Crowd}. */
export interface CrowdCommand {
  /** `open`: opens `count` connections; `exchange`: all say something; `part`: all end. */
  readonly crowd: "open" | "exchange" | "part";
  /** Where to, unsigned 32 bits. */
  readonly to?: number;
  /** Which port. */
  readonly port?: number;
  /** How many. */
  readonly count?: number;
}

/** How many members did what was asked. */
export interface CrowdResult {
  /** Those that are open, or heard what they had said, or ended in order. */
  readonly done: number;
  /** Those that were reset by this side. */
  readonly reset: number;
  /** Those with which something else happened. */
  readonly failed: number;
}

/** The connections. */
export class Crowd {
  readonly #stack: Stack;
  readonly #tell: (result: CrowdResult) => void;
  readonly #members: Member[] = [];
  #command: CrowdCommand = { crowd: "open" };
  #round = 0;
  #done = 0;
  #reset = 0;
  #failed = 0;

  /** Nobody yet; `tell` hears of the end of each command. */
  constructor(stack: Stack, tell: (result: CrowdResult) => void) {
    this.#stack = stack;
    this.#tell = tell;
  }

  /** Begins with a command; those before it must be over. */
  begin(command: CrowdCommand): void {
    this.#command = command;
    this.#done = this.#reset = this.#failed = 0;
    if (command.crowd === "open") {
      for (let i = 0; i < WAVE; i++) this.#openOne();
      return;
    }
    if (command.crowd === "exchange") this.#round++;
    for (const member of this.#members) {
      if (command.crowd === "exchange") member.say(this.#round);
      else member.part();
    }
  }

  /** A member has done what it was to do, or something else. */
  count(what: "done" | "reset" | "failed"): void {
    if (what === "done") this.#done++;
    else if (what === "reset") this.#reset++;
    else this.#failed++;
    const opening = this.#command.crowd === "open";
    const all = opening ? this.#command.count : this.#members.length;
    const result = { done: this.#done, reset: this.#reset, failed: this.#failed };
    if (result.done + result.reset + result.failed === all) {
      if (this.#command.crowd === "part") this.#members.length = 0;
      this.#tell(result);
    } else if (opening) this.#openOne();
  }

  #openOne(): void {
    const { to = 0, port = 0, count = 0 } = this.#command;
    if (this.#members.length >= count) return;
    const member = new Member(this, this.#members.length);
    this.#members.push(member);
    const made = this.#stack.connect({ to, port, handler: member, options: { noDelay: true } });
    if (typeof made === "string") this.count("failed");
    else member.connection = made;
  }
}

/** One connection. */
class Member implements TcpHandler {
  connection: TcpConnection | undefined;
  readonly #crowd: Crowd;
  readonly #index: number;
  #expected: Uint8Array = new Uint8Array(0);
  #heard = 0;
  #parting = false;

  constructor(crowd: Crowd, index: number) {
    this.#crowd = crowd;
    this.#index = index;
  }

  say(round: number): void {
    this.#expected = crowdMessage(this.#index, round);
    this.#heard = 0;
    if (this.connection?.write(this.#expected) !== SAYS_BYTES) this.#crowd.count("failed");
  }

  /** Every other one resets. */
  part(): void {
    this.#parting = true;
    if (this.#index % 2 === 0) this.connection?.end();
    else this.connection?.abort();
  }

  onOpen(): void {
    this.#crowd.count("done");
  }

  onReadable(c: TcpConnection): void {
    const bytes = new Uint8Array(SAYS_BYTES + 1);
    const count = c.read(bytes);
    for (let i = 0; i < count; i++) {
      if (bytes[i] !== this.#expected[this.#heard + i]) return this.#crowd.count("failed");
    }
    this.#heard += count;
    if (this.#heard === SAYS_BYTES) this.#crowd.count("done");
  }

  onClose(_c: TcpConnection, reason: CloseReason): void {
    if (this.#parting && reason === "closed") this.#crowd.count("done");
    else if (this.#parting && reason === "aborted") this.#crowd.count("reset");
    else this.#crowd.count("failed");
  }
}
