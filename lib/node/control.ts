/**
 * The control side of a node: requests and answers in envelopes, over the node's one UDP socket.
 *
 * @module
 */

import type { z } from "zod";
import type { Endpoint } from "../../net/os/endpoint.ts";
import {
  EnvelopeOpener,
  type NetworkKey,
  type OpenedEnvelope,
  sealEnvelope,
} from "../../net/mesh/envelope.ts";
import { Answerer, Asker, parseRpcMessage, type RpcMessage } from "../../net/mesh/rpc.ts";
import { EXIT, messageOf, OmertaError } from "../core/errors.ts";
import type { Identity } from "../core/identity.ts";
import { logger } from "../core/log.ts";

/** How often due retransmissions are looked for while a request waits, in ms. */
const TICK_MS = 50;

/** Where a request came from. */
export interface Origin {
  /** Source address of the datagram, as this node saw it. */
  readonly from: Endpoint;
  /** Sender's machine key. */
  readonly machineKey: Uint8Array;
  /** Sender's peer key. */
  readonly peerKey: Uint8Array;
  /** The network whose key the sender has. */
  readonly network: NetworkKey;
}

/** What {@link Control} needs. */
export interface ControlOptions {
  /** Who this node is. */
  readonly identity: Identity;
  /** Networks to open envelopes with, asked for at every datagram. */
  readonly networks: () => readonly NetworkKey[];
  /** Sends a datagram from the node's socket. */
  readonly send: (datagram: Uint8Array, to: Endpoint) => void;
  /** Time of now in ms since 1970. */
  readonly now: () => number;
}

/** How {@link Control.ask} asks. */
export interface AskOptions<Answer> {
  /** Channel of the handler at the other side. */
  readonly channel: string;
  /** What is asked. */
  readonly body: unknown;
  /** What the answer must look like. */
  readonly answer: z.ZodType<Answer>;
  /** Where the other side is. */
  readonly to: Endpoint;
  /** The network shared with it. */
  readonly network: NetworkKey;
  /** Hex of the machine key that must answer, where it is known. */
  readonly machine?: string;
  /** How long to wait, in ms. @default {10000} */
  readonly timeoutMs?: number;
  /** Stops waiting. */
  readonly signal?: AbortSignal;
}

const log = logger("control");

/** Asks other nodes and answers them. */
export class Control implements Disposable {
  readonly #options: ControlOptions;
  readonly #opener = new EnvelopeOpener();
  readonly #asker = new Asker();
  readonly #answerer = new Answerer<Origin>();
  readonly #machine: string;
  #timer: ReturnType<typeof setInterval> | undefined;
  #unparsed = 0;

  /** A control side without handlers. */
  constructor(options: ControlOptions) {
    this.#options = options;
    this.#machine = options.identity.machineKey.toHex();
  }

  /** Datagrams refused, by reason. */
  get faults(): Readonly<Record<string, number>> {
    return { ...this.#opener.faults, "unknown-message": this.#unparsed };
  }

  /**
   * Answers requests of a channel. The body is checked before the handler sees it.
   *
   * @throws {Error} When the channel has a handler.
   */
  handle<Body>(
    channel: string,
    body: z.ZodType<Body>,
    handler: (body: Body, origin: Origin) => unknown,
  ): void {
    this.#answerer.handle(channel, (raw, origin) => {
      const checked = body.safeParse(raw);
      if (!checked.success) {
        const issue = checked.error.issues[0];
        throw new OmertaError(
          "bad-request",
          `Cannot read the ${channel}: ${issue?.path.join(".") || "body"}: ${issue?.message}`,
          { next: "Use the same version of omerta on both sides" },
        );
      }
      return handler(checked.data, origin);
    });
  }

  /**
   * Asks another node and waits for its answer.
   *
   * @returns The answer, checked, and the hex of the machine key that gave it.
   * @throws {OmertaError} `no-answer`, `bad-answer`, or what the other side refused with.
   */
  async ask<Answer>(
    options: AskOptions<Answer>,
  ): Promise<{ readonly body: Answer; readonly machine: string }> {
    const asked = this.#asker.ask({
      channel: options.channel,
      body: options.body,
      what: options.to.toString(),
      send: (message) => this.#send(message, options.network, options.to),
      ...(options.machine === undefined ? {} : { machine: options.machine }),
      ...(options.timeoutMs === undefined ? {} : { timeoutMs: options.timeoutMs }),
      ...(options.signal === undefined ? {} : { signal: options.signal }),
    }, this.#options.now());
    this.#timer ??= setInterval(() => this.#tick(), TICK_MS);
    const { body, machine } = await asked;
    const answer = options.answer.safeParse(body);
    if (answer.success) return { body: answer.data, machine };
    throw new OmertaError(
      "bad-answer",
      `Cannot read the answer of ${options.to} to ${options.channel}: ${
        answer.error.issues[0]?.message
      }`,
      { exit: EXIT.failed, next: "Use the same version of omerta on both sides" },
    );
  }

  #tick(): void {
    this.#asker.tick(this.#options.now());
    if (this.#asker.size > 0) return;
    clearInterval(this.#timer);
    this.#timer = undefined;
  }

  /** Takes a datagram from the socket. Never throws. */
  receive(datagram: Uint8Array, from: Endpoint): void {
    const now = this.#options.now();
    const opened = this.#opener.open(datagram, this.#options.networks(), now);
    if (typeof opened === "string") {
      log.debug("Refused an envelope from {from}: {opened}", { from: String(from), opened });
      return;
    }
    const machine = opened.machineKey.toHex();
    const message = parseRpcMessage(opened.message);
    if (message === undefined || machine === this.#machine) {
      this.#unparsed++;
      return;
    }
    if (message.kind === "request") void this.#answer(message, machine, opened, from, now);
    else this.#asker.receive(message, machine);
  }

  async #answer(
    request: RpcMessage & { readonly kind: "request" },
    machine: string,
    { machineKey, peerKey, network }: OpenedEnvelope,
    from: Endpoint,
    now: number,
  ): Promise<void> {
    const origin = { from, machineKey, peerKey, network };
    try {
      await this.#answerer.receive(request, machine, origin, (answer) => {
        if (answer.kind === "refusal") {
          log.warning("Refused {channel} from {from}: {reason}", {
            channel: request.channel,
            from: String(from),
            reason: answer.message,
          });
        }
        this.#send(answer, network, from);
      }, now);
    } catch (error) {
      log.error("Cannot answer {channel}: {error}", {
        channel: request.channel,
        error: messageOf(error),
      });
    }
  }

  #send(message: RpcMessage, network: NetworkKey, to: Endpoint): void {
    const { identity, now } = this.#options;
    this.#options.send(sealEnvelope(message, network, identity, { now: now() }), to);
  }

  /** Gives up on everything that waits. */
  [Symbol.dispose](): void {
    this.#asker.close();
    clearInterval(this.#timer);
  }
}
