/**
 * Request and response over control envelopes: a request is repeated until it is answered, and runs
 * once however often it arrives.
 *
 * ```
 * asker                                   answerer
 *   | request id, channel, body  -------->  |  handler starts
 *   | the same, 250 ms later     -------->  |  already running: nothing
 *   |                            <--------  |  answer id, body      (kept for KEEP_ANSWER_MS)
 *   | the same, 500 ms later     -------->  |  already answered: the kept answer again
 * ```
 *
 * Every transmission is an envelope of its own; the request id inside stays the same. Who asks is
 * the machine key of the envelope, never a field of the body. Nothing here does I/O: time comes in
 * as a number, datagrams go out through a callback.
 *
 * At the caps, of one machine and of all, a new request is refused with `busy`; no kept answer is dropped early, because that
 * would let a late retransmission run its request a second time.
 *
 * @module
 */

import { randomBytes } from "node:crypto";
import { z } from "zod";
import { EXIT, OmertaError } from "../../lib/core/errors.ts";

/** First pause before a request is sent again, in ms; doubles up to {@link MAX_RETRY_MS}. */
const FIRST_RETRY_MS = 250;
/** Longest pause before a request is sent again, in ms. */
const MAX_RETRY_MS = 2000;
/** How long an answer is waited for unless told otherwise, in ms. */
export const ANSWER_TIMEOUT_MS = 10_000;
/** How long an answer is kept for retransmissions, in ms: longer than any asker goes on asking. */
const KEEP_ANSWER_MS = 120_000;
/** Requests running or answered that are remembered. */
const MAX_REMEMBERED = 16_384;
/** The same of one machine, so that one which asks without end is refused before others are. */
const MAX_REMEMBERED_OF_ONE = 1024;
/** Requests of our own that wait for an answer at a time. */
const MAX_WAITING = 256;

const RequestId = z.string().regex(/^[0-9a-f]{16}$/);

const RpcMessageSchema = z.discriminatedUnion("kind", [
  z.strictObject({
    kind: z.literal("request"),
    id: RequestId,
    channel: z.string().regex(/^[A-Za-z0-9_-]{1,64}$/),
    body: z.unknown(),
  }),
  z.strictObject({ kind: z.literal("answer"), id: RequestId, body: z.unknown() }),
  z.strictObject({
    kind: z.literal("refusal"),
    id: RequestId,
    code: z.string().max(64),
    message: z.string().max(512),
    next: z.string().max(256).optional(),
  }),
]);

/** A message of this protocol, as it stands in an envelope. */
export type RpcMessage = z.infer<typeof RpcMessageSchema>;

/** `message` as a message of this protocol, or undefined when it is none. */
export function parseRpcMessage(message: unknown): RpcMessage | undefined {
  return RpcMessageSchema.safeParse(message).data;
}

/** The answer to a request. */
export interface Answered {
  /** The body, unchecked. */
  readonly body: unknown;
  /** Hex of the machine key that answered. */
  readonly machine: string;
}

interface Waiting {
  readonly message: RpcMessage;
  readonly send: (message: RpcMessage) => void;
  readonly expires: number;
  readonly what: string;
  readonly machine: string | undefined;
  readonly resolve: (answer: Answered) => void;
  readonly reject: (error: Error) => void;
  retryAt: number;
  pause: number;
}

/** How {@link Asker.ask} asks. */
export interface AskOptions {
  /** Handler at the other side. */
  readonly channel: string;
  /** What is asked; JSON. */
  readonly body: unknown;
  /** Sends a message to the other side, in an envelope of its own. */
  readonly send: (message: RpcMessage) => void;
  /** The other side, for messages: `192.168.1.100:51820`. */
  readonly what: string;
  /** Hex of the machine key that must answer; undefined when any member of the network may. */
  readonly machine?: string;
  /** How long an answer is waited for, in ms. @default {10000} */
  readonly timeoutMs?: number;
  /** Stops waiting. */
  readonly signal?: AbortSignal;
}

/** The side that asks. */
export class Asker {
  readonly #waiting = new Map<string, Waiting>();

  /** Requests that wait for an answer. */
  get size(): number {
    return this.#waiting.size;
  }

  /**
   * Sends a request and waits for its answer.
   *
   * @returns The answer and who gave it.
   * @throws {OmertaError} `no-answer` (exit 4), or what the other side refused with (exit 5).
   */
  ask(options: AskOptions, now: number): Promise<Answered> {
    if (this.#waiting.size >= MAX_WAITING) {
      throw new OmertaError("busy", `Cannot ask ${options.what}: ${MAX_WAITING} requests wait`);
    }
    options.signal?.throwIfAborted();
    const id = randomBytes(8).toString("hex");
    const message: RpcMessage = {
      kind: "request",
      id,
      channel: options.channel,
      body: options.body,
    };
    const { promise, resolve, reject } = Promise.withResolvers<Answered>();
    this.#waiting.set(id, {
      message,
      send: options.send,
      expires: now + (options.timeoutMs ?? ANSWER_TIMEOUT_MS),
      what: options.what,
      machine: options.machine,
      resolve,
      reject,
      retryAt: now + FIRST_RETRY_MS,
      pause: FIRST_RETRY_MS,
    });
    const onAbort = (): void => reject(options.signal?.reason);
    options.signal?.addEventListener("abort", onAbort, { once: true });
    const done = promise.finally(() => {
      this.#waiting.delete(id);
      options.signal?.removeEventListener("abort", onAbort);
    });
    try {
      options.send(message);
    } catch (error) {
      reject(error instanceof Error ? error : new Error(String(error)));
    }
    return done;
  }

  /** Sends again what is due and gives up on what is too old. */
  tick(now: number): void {
    for (const waiting of this.#waiting.values()) {
      if (now >= waiting.expires) waiting.reject(noAnswer(waiting.what));
      else if (now >= waiting.retryAt) {
        waiting.pause = Math.min(waiting.pause * 2, MAX_RETRY_MS);
        waiting.retryAt = now + waiting.pause;
        waiting.send(waiting.message);
      }
    }
  }

  /** Takes an answer or a refusal from `machine` (hex of its key). */
  receive(message: RpcMessage, machine: string): void {
    if (message.kind === "request") return;
    const waiting = this.#waiting.get(message.id);
    if (!waiting) return; // answered already, or given up
    if (waiting.machine !== undefined && waiting.machine !== machine) return;
    if (message.kind === "answer") waiting.resolve({ body: message.body, machine });
    else waiting.reject(refusedBy(waiting.what, message));
  }

  /** Gives up on everything that still waits. */
  close(): void {
    for (const waiting of this.#waiting.values()) {
      waiting.reject(new OmertaError("stopped", `Cannot ask ${waiting.what}: this node stops`));
    }
  }
}

function noAnswer(what: string): OmertaError {
  return new OmertaError("no-answer", `Cannot reach ${what}: no answer`, {
    exit: EXIT.unreachable,
    next:
      "Check that 'omerta daemon' runs there, that the address, UDP port and key are those of " +
      "its link, and that no firewall drops UDP; a wrong key is never answered",
  });
}

function refusedBy(what: string, refusal: RpcMessage & { kind: "refusal" }): OmertaError {
  return new OmertaError(refusal.code, `${what} refuses: ${refusal.message}`, {
    exit: EXIT.refused,
    ...(refusal.next === undefined ? {} : { next: refusal.next }),
  });
}

/** Answers one kind of request. What it throws goes back as a refusal. */
export type Handler<Origin> = (body: unknown, origin: Origin) => unknown | Promise<unknown>;

interface Remembered {
  readonly machine: string;
  /** Undefined while the handler runs. */
  answer: RpcMessage | undefined;
  readonly expires: number;
}

/** The side that answers. `Origin` is what the caller knows about a message's sender. */
export class Answerer<Origin> {
  readonly #handlers = new Map<string, Handler<Origin>>();
  /** By machine key and request id. Insertion order is the order of expiry. */
  readonly #remembered = new Map<string, Remembered>();
  /** How many of them are of a machine; those with none are not here. */
  readonly #ofMachine = new Map<string, number>();

  /**
   * Sets the handler of a channel.
   *
   * @throws {Error} When the channel has one: two handlers must never hide each other.
   */
  handle(channel: string, handler: Handler<Origin>): void {
    if (this.#handlers.has(channel)) throw new Error(`Channel '${channel}' has a handler already`);
    this.#handlers.set(channel, handler);
  }

  /**
   * Takes a request.
   *
   * @param machine Hex of the sender's machine key, from the envelope.
   * @param send Sends a message back to where the request came from.
   * @returns When the answer has been sent; for a repeated request at once.
   */
  async receive(
    request: RpcMessage & { readonly kind: "request" },
    machine: string,
    origin: Origin,
    send: (message: RpcMessage) => void,
    now: number,
  ): Promise<void> {
    this.#forget(now);
    const key = `${machine}/${request.id}`;
    const known = this.#remembered.get(key);
    if (known) {
      if (known.answer) send(known.answer);
      return;
    }
    const ofMachine = this.#ofMachine.get(machine) ?? 0;
    if (this.#remembered.size >= MAX_REMEMBERED || ofMachine >= MAX_REMEMBERED_OF_ONE) {
      send(refusal(request.id, new OmertaError("busy", "Cannot take more requests now")));
      return;
    }
    const entry: Remembered = { machine, answer: undefined, expires: now + KEEP_ANSWER_MS };
    this.#ofMachine.set(machine, ofMachine + 1);
    this.#remembered.set(key, entry);
    entry.answer = await this.#run(request, origin);
    send(entry.answer);
  }

  async #run(
    request: RpcMessage & { readonly kind: "request" },
    origin: Origin,
  ): Promise<RpcMessage> {
    const handler = this.#handlers.get(request.channel);
    if (!handler) {
      return refusal(
        request.id,
        new OmertaError("unknown-channel", `Cannot answer '${request.channel}' here`),
      );
    }
    try {
      return {
        kind: "answer",
        id: request.id,
        body: await handler(request.body, origin),
      };
    } catch (error) {
      return refusal(request.id, error);
    }
  }

  #forget(now: number): void {
    for (const [key, entry] of this.#remembered) {
      if (entry.expires > now) break;
      this.#remembered.delete(key);
      const left = (this.#ofMachine.get(entry.machine) ?? 0) - 1;
      if (left > 0) this.#ofMachine.set(entry.machine, left);
      else this.#ofMachine.delete(entry.machine);
    }
  }
}

/** What a stranger may see of an error: ours in full, of any other only that there was one. */
function refusal(id: string, error: unknown): RpcMessage {
  if (!(error instanceof OmertaError)) {
    return { kind: "refusal", id, code: "failed", message: "Something failed there; see its log" };
  }
  return {
    kind: "refusal",
    id,
    code: error.code.slice(0, 64),
    message: error.message.slice(0, 512),
    ...(error.next === undefined ? {} : { next: error.next.slice(0, 256) }),
  };
}
