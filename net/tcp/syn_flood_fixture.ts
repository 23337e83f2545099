/**
 * A flood of SYNs from strangers who do not exist, against three listeners of one stack, while a real
 * client goes on connecting to them; in virtual time, with a round trip of {@link ROUND_TRIP_MS}.
 *
 * As a program it prints how much memory the process holds in the course of such a flood, as a JSON
 * list of bytes, the first of it once all tables are full. Needs `--v8-flags=--expose-gc`.
 *
 * @module
 */

import { Random } from "../../tests/doubles/random.ts";
import { heldMemory } from "../../tests/support/held_memory.ts";
import { viewOf } from "../wire/bytes.ts";
import { foldSum, nativePseudoSum, nativeSum } from "../wire/checksum.ts";
import { PROTOCOL, writeIpv4 } from "../wire/ipv4.ts";
import { TCP_FLAG } from "../wire/tcp.ts";
import {
  writeMss,
  writeSackPermitted,
  writeTimestamps,
  writeWindowScale,
} from "../wire/tcp_options.ts";
import type { CloseReason, TcpConnection, TcpHandler } from "./connection.ts";
import { DEFAULT_LIMITS } from "./limits.ts";
import type { PendingSyn } from "./listener.ts";
import { ADDRESS_B, Simulation } from "./simulation_fixture.ts";

/** Round trip between the client and the stack, in ms. */
export const ROUND_TRIP_MS = 20;
/** How long the owner of {@link PORT} `late` thinks about a SYN, in ms. */
const THINKS_MS = 50;
/** Time between two connections of the real client to the same port, in ms. */
const CLIENT_MS = 250;
/** Bytes that the client sends, and gets back. */
const BYTES = 300;

/** Listeners: one accepts at once, one after {@link THINKS_MS}, one never answers. */
export const PORT = { atOnce: 80, late: 81, never: 82 } as const;

/** What a client's attempt came to. */
export interface Attempt {
  /** One of {@link PORT}. */
  readonly port: number;
  /** When it began, in ms. */
  readonly begunAt: number;
  /** Bytes that came back as they were sent. */
  echoed: number;
  /** When its handshake was done, in ms. */
  openedAt: number | undefined;
  /** How it ended. */
  reason: CloseReason | undefined;
}

/** Sends back what it reads, and ends when the other side does. */
class Echo implements TcpHandler {
  readonly #buffer = new Uint8Array(BYTES);
  onReadable(c: TcpConnection): void {
    c.write(this.#buffer, 0, c.read(this.#buffer));
  }
  onEnd(c: TcpConnection): void {
    c.end();
  }
}

/** The flood. */
export class Flood {
  /** `b` is flooded, `a` is the real client. */
  readonly sim: Simulation;
  /** What became of the client's attempts. */
  readonly attempts: Attempt[] = [];
  /** SYNs of strangers so far. */
  strangers = 0;
  /** The most that was ever in a table: connections, and SYNs that wait. */
  readonly most: { connections: number; pending: number } = { connections: 0, pending: 0 };
  readonly #random: Random;
  readonly #sources: number;
  readonly #waiting: { pending: PendingSyn; at: number }[] = [];
  readonly #packet = new Uint8Array(64);
  readonly #view = viewOf(this.#packet);
  #clientAt: number;

  /** Nothing has come yet; strangers have so many addresses. */
  constructor(seed: number, sources: number = 2 ** 24) {
    this.#sources = sources;
    this.sim = new Simulation({ seed, link: { delayMs: ROUND_TRIP_MS / 2 } });
    this.#random = new Random(seed);
    this.#clientAt = this.sim.now;
    const { b } = this.sim;
    b.listen({ port: PORT.atOnce, onSyn: (pending) => void pending.accept(new Echo()) });
    b.listen({
      port: PORT.late,
      onSyn: (pending) => void this.#waiting.push({ pending, at: this.sim.now + THINKS_MS }),
    });
    b.listen({ port: PORT.never, onSyn: () => {} });
  }

  /** Lets `ms` pass with `perMs` SYNs of strangers in each; the client connects all the while. */
  run(ms: number, perMs: number): void {
    const { sim } = this;
    for (let i = 0; i < ms; i++) {
      for (let k = 0; k < perMs; k++) this.#stranger();
      if (sim.now >= this.#clientAt) {
        this.#clientAt = sim.now + CLIENT_MS;
        for (const port of Object.values(PORT)) this.#connect(port);
      }
      for (let first = this.#waiting[0]; first !== undefined; first = this.#waiting[0]) {
        if (first.at > sim.now) break;
        this.#waiting.shift();
        first.pending.accept(new Echo());
      }
      sim.pass(1);
      const { connections, pending } = sim.b.use;
      this.most.connections = Math.max(this.most.connections, connections);
      this.most.pending = Math.max(this.most.pending, pending);
    }
  }

  #stranger(): void {
    const packet = this.#packet;
    const view = this.#view;
    const random = this.#random;
    // In 11.0.0.0/8, and so nobody who would answer with a reset.
    const source = 0x0b000000 + random.below(this.#sources);
    view.setUint16(20, 1 + random.below(65535));
    view.setUint16(22, random.pick([PORT.atOnce, PORT.late, PORT.never]));
    view.setUint32(24, random.below(2 ** 32));
    view.setUint32(28, 0);
    view.setUint8(32, 44 << 2);
    view.setUint8(33, TCP_FLAG.syn);
    view.setUint16(34, 64240);
    view.setUint32(36, 0);
    let at = 40;
    at += writeMss(view, at, 1460);
    at += writeSackPermitted(view, at);
    at += writeTimestamps(view, at, random.below(2 ** 31), 0);
    writeWindowScale(view, at, 7);
    writeIpv4(packet, 0, source, ADDRESS_B, PROTOCOL.tcp, packet.length, 1);
    const sum = nativeSum(view, 20, 44) + nativePseudoSum(view, 0, 44);
    view.setUint16(36, ~foldSum(sum), true);
    this.sim.b.input(packet, 0, packet.length, this.sim.now);
    this.strangers++;
  }

  #connect(port: number): void {
    const attempt: Attempt = {
      port,
      begunAt: this.sim.now,
      echoed: 0,
      openedAt: undefined,
      reason: undefined,
    };
    const buffer = new Uint8Array(BYTES);
    const made = this.sim.a.connect({
      to: ADDRESS_B,
      port,
      options: { connectMs: port === PORT.never ? 1000 : 60_000 },
      handler: {
        onOpen: (c) => {
          attempt.openedAt = this.sim.now;
          c.write(buffer.map((_, i) => i));
        },
        onReadable: (c) => {
          const count = c.read(buffer);
          for (let i = 0; i < count; i++) {
            if (buffer[i] === (attempt.echoed & 255)) attempt.echoed++;
          }
          if (attempt.echoed === BYTES) c.end();
        },
        onClose: (_, reason) => {
          attempt.reason = reason;
        },
      },
    });
    if (typeof made === "string") throw new Error(`Cannot connect: ${made}`);
    this.attempts.push(attempt);
  }
}

function main(): void {
  const flood = new Flood(1);
  const measured: number[] = [];
  flood.run(2000, 10);
  for (let i = 0; i < 4; i++) {
    measured.push(heldMemory());
    flood.run(3000, 10);
    // What the test itself remembers of the client is not the stack's.
    flood.attempts.length = 0;
  }
  measured.push(heldMemory());
  const { halfOpen, pending } = DEFAULT_LIMITS;
  if (flood.most.pending < pending || flood.most.connections < halfOpen) {
    throw new Error("Cannot measure: the tables were not full");
  }
  Deno.stdout.writeSync(new TextEncoder().encode(JSON.stringify(measured)));
}

if (import.meta.main) main();
