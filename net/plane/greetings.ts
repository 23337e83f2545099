/**
 * First lines that servers inside of the tunnels send by themselves, as SSH's do: that one has come
 * shows that there is a server.
 *
 * @module
 */

import { OmertaError } from "../../lib/core/errors.ts";
import type { TcpConnection, TcpHandler } from "../tcp/connection.ts";
import type { NetworkInterface } from "../vlan/network_interface.ts";

/** Greetings that are waited for at a time. */
const MAX_GREETINGS = 64;
/** Longest greeting that is read (bytes); RFC 4253 section 4.2 allows 255. */
const MAX_GREETING = 255;

/** Whose greeting is read. */
export interface Greeter {
  /** What its user calls it. */
  readonly host: string;
  /** Its address, unsigned 32 bits. */
  readonly address: number;
  /** Its port. */
  readonly port: number;
  /** How long to wait, in ms by the clock of the interface. */
  readonly endsAt: number;
}

/** Those that are waited for. */
export class Greetings {
  readonly #link: Pick<NetworkInterface, "dialTcp">;
  readonly #waiting = new Set<Greeting>();

  /** None yet; connections are opened by `link`. */
  constructor(link: Pick<NetworkInterface, "dialTcp">) {
    this.#link = link;
  }

  /**
   * Connects and reads the first line; `done` gets it without its end, or undefined when none has come
   * in time. It goes out with the next batch.
   *
   * @throws {OmertaError} `greeting-failed`.
   */
  read({ host, address, port, endsAt }: Greeter, done: (line: string | undefined) => void): void {
    if (this.#waiting.size >= MAX_GREETINGS) {
      throw new OmertaError("greeting-failed", `Cannot connect to ${host}: too many wait already`);
    }
    const greeting = new Greeting(endsAt, (line) => {
      this.#waiting.delete(greeting);
      done(line);
    });
    const made = this.#link.dialTcp(address, port, greeting);
    if (made === undefined || typeof made === "string") {
      const why = made ?? "there is no stack";
      throw new OmertaError("greeting-failed", `Cannot connect to ${host}: ${why}`);
    }
    greeting.connection = made;
    this.#waiting.add(greeting);
  }

  /** Gives those up whose time is over; when to call again, in ms. */
  tick(now: number): number {
    let due = Infinity;
    for (const greeting of this.#waiting) {
      if (greeting.endsAt <= now) greeting.giveUp();
      else due = Math.min(due, greeting.endsAt);
    }
    return due;
  }
}

/** Reads one line. */
class Greeting implements TcpHandler {
  readonly endsAt: number;
  connection: TcpConnection | undefined;
  readonly #bytes = new Uint8Array(MAX_GREETING);
  #length = 0;
  #done: ((line: string | undefined) => void) | undefined;

  constructor(endsAt: number, done: (line: string | undefined) => void) {
    this.endsAt = endsAt;
    this.#done = done;
  }

  onReadable(connection: TcpConnection): void {
    this.#length += connection.read(this.#bytes, this.#length);
    const text = new TextDecoder().decode(this.#bytes.subarray(0, this.#length));
    const end = text.indexOf("\n");
    if (end >= 0) this.#finish(text.slice(0, end).replace(/\r$/, ""));
    else if (this.#length === MAX_GREETING) this.#finish(undefined);
  }

  onEnd(): void {
    this.#finish(undefined);
  }

  onClose(): void {
    this.#finish(undefined);
  }

  giveUp(): void {
    this.#finish(undefined);
  }

  #finish(line: string | undefined): void {
    const done = this.#done;
    this.#done = undefined;
    if (done === undefined) return;
    this.connection?.abort();
    done(line);
  }
}
