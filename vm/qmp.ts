/**
 * QMP, the machine protocol of QEMU: one JSON object on each line, both ways.
 *
 * ```
 * < {"QMP": {"version": {...}, "capabilities": [...]}}           greeting
 * > {"execute": "qmp_capabilities", "id": 1}                     leaves negotiation
 * < {"return": {}, "id": 1}
 * > {"execute": "query-status", "id": 2}
 * < {"timestamp": {...}, "event": "RESUME"}                      at any time
 * < {"return": {"status": "running"}, "id": 2}
 * < {"error": {"class": "GenericError", "desc": "..."}, "id": 3}
 * ```
 *
 * QEMU holds the guest, so its lines are not trusted: a line over {@link MAX_LINE} ends the
 * connection, one that does not parse is ignored.
 *
 * @see {@link https://www.qemu.org/docs/master/interop/qmp-spec.html | QMP specification}
 * @module
 */

import { messageOf, OmertaError } from "../lib/core/errors.ts";

/** Longest line taken from QEMU, in bytes. */
export const MAX_LINE = 1 << 20;
/** Time allowed for an answer, in ms. */
const ANSWER_MS = 10_000;

/** Something that happened in QEMU. */
export interface QmpEvent {
  /** Its name, e.g. `SHUTDOWN`. */
  readonly event: string;
  /** What belongs to it. */
  readonly data: Readonly<Record<string, unknown>>;
}

/** How {@link QmpClient.connect} connects. */
export interface QmpOptions {
  /** Gives up when aborted. */
  readonly signal?: AbortSignal;
  /** Time allowed for greeting and negotiation, in ms. @default {10000} */
  readonly timeoutMs?: number;
  /** Called for every event. */
  readonly onEvent?: (event: QmpEvent) => void;
}

interface Waiting {
  readonly command: string;
  readonly resolve: (value: unknown) => void;
  readonly reject: (error: OmertaError) => void;
  readonly timer: ReturnType<typeof setTimeout>;
}

/** A connection to one QEMU. */
export class QmpClient implements AsyncDisposable {
  /** Resolves when the connection has ended, for whatever reason. */
  readonly closed: Promise<void>;
  readonly #conn: Deno.Conn;
  readonly #onEvent: (event: QmpEvent) => void;
  readonly #waiting = new Map<number, Waiting>();
  readonly #greeting = Promise.withResolvers<string>();
  #lastId = 0;
  #open = true;

  private constructor(conn: Deno.Conn, onEvent: (event: QmpEvent) => void) {
    this.#conn = conn;
    this.#onEvent = onEvent;
    // The reader may end before anyone awaits the greeting.
    this.#greeting.promise.catch(() => {});
    this.closed = this.#read();
  }

  /**
   * Connects to QEMU's socket and leaves negotiation.
   *
   * @throws {OmertaError} `qmp-failed` when there is no QMP at `path`; the reason of `signal` when aborted.
   */
  static async connect(path: string, options: QmpOptions = {}): Promise<QmpClient> {
    options.signal?.throwIfAborted();
    let conn: Deno.UnixConn;
    try {
      conn = await Deno.connect({ transport: "unix", path });
    } catch (error) {
      throw failed(path, messageOf(error), error);
    }
    const client = new QmpClient(conn, options.onEvent ?? (() => {}));
    const timeoutMs = options.timeoutMs ?? ANSWER_MS;
    const timer = setTimeout(() => client.#end(`no greeting in ${timeoutMs / 1000} s`), timeoutMs);
    const abort = (): void => client.#end("it was cancelled");
    options.signal?.addEventListener("abort", abort);
    if (options.signal?.aborted) abort();
    try {
      await client.#greeting.promise;
      await client.execute("qmp_capabilities", undefined, timeoutMs);
      return client;
    } catch (error) {
      await client.close();
      options.signal?.throwIfAborted();
      throw failed(path, messageOf(error), error);
    } finally {
      clearTimeout(timer);
      options.signal?.removeEventListener("abort", abort);
    }
  }

  /** QEMU's version, e.g. `7.2.22`. */
  get version(): Promise<string> {
    return this.#greeting.promise;
  }

  /**
   * Runs a command and returns what QEMU returned.
   *
   * @param timeoutMs Time allowed for the answer.
   * @throws {OmertaError} `qmp-error` when QEMU refuses, `qmp-timeout`, `qmp-closed`.
   */
  execute(
    command: string,
    args?: Readonly<Record<string, unknown>>,
    timeoutMs = ANSWER_MS,
  ): Promise<unknown> {
    if (!this.#open) return Promise.reject(closedError(command, "the connection has ended"));
    const id = ++this.#lastId;
    const answer = Promise.withResolvers<unknown>();
    const timer = setTimeout(() => {
      this.#waiting.delete(id);
      answer.reject(
        new OmertaError(
          "qmp-timeout",
          `Cannot run ${command} in QEMU: no answer in ${timeoutMs / 1000} s`,
        ),
      );
    }, timeoutMs);
    this.#waiting.set(id, { command, resolve: answer.resolve, reject: answer.reject, timer });
    const line = JSON.stringify({ execute: command, ...(args ? { arguments: args } : {}), id });
    this.#write(new TextEncoder().encode(`${line}\n`)).catch((error) =>
      this.#end(messageOf(error))
    );
    return answer.promise;
  }

  /** Ends the connection; what still waits for an answer is rejected. */
  async close(): Promise<void> {
    this.#end("it was closed");
    await this.closed;
  }

  /** The same as {@link close}. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  async #write(bytes: Uint8Array): Promise<void> {
    for (let at = 0; at < bytes.length;) at += await this.#conn.write(bytes.subarray(at));
  }

  async #read(): Promise<void> {
    const chunk = new Uint8Array(16 * 1024);
    const lines = new QmpLines();
    let reason = "QEMU ended it";
    try {
      for (;;) {
        const n = await this.#conn.read(chunk);
        if (n === null) break;
        const taken = lines.push(chunk.subarray(0, n));
        if (taken === "line-too-long") {
          reason = `a line is longer than ${MAX_LINE} bytes`;
          break;
        }
        for (const line of taken) this.#take(line);
      }
    } catch (error) {
      reason = messageOf(error);
    }
    this.#end(reason);
  }

  #take(line: string): void {
    const message = parseQmpLine(line);
    if (message.kind === "greeting") this.#greeting.resolve(message.version);
    if (message.kind === "event") this.#onEvent(message.event);
    if (message.kind !== "answer") return;
    const waiting = this.#waiting.get(message.id);
    if (!waiting) return;
    this.#waiting.delete(message.id);
    clearTimeout(waiting.timer);
    if (message.error === undefined) waiting.resolve(message.value);
    else {
      waiting.reject(
        new OmertaError("qmp-error", `Cannot run ${waiting.command} in QEMU: ${message.error}`),
      );
    }
  }

  #end(reason: string): void {
    if (!this.#open) return;
    this.#open = false;
    this.#conn.close();
    this.#greeting.reject(closedError("the greeting", reason));
    for (const waiting of this.#waiting.values()) {
      clearTimeout(waiting.timer);
      waiting.reject(closedError(waiting.command, reason));
    }
    this.#waiting.clear();
  }
}

function failed(path: string, why: string, cause: unknown): OmertaError {
  return new OmertaError("qmp-failed", `Cannot talk to QEMU at ${path}: ${why}`, { cause });
}

function closedError(command: string, why: string): OmertaError {
  return new OmertaError("qmp-closed", `Cannot run ${command} in QEMU: ${why}`);
}

/** One line from QEMU. `other` is what we do not know or cannot read. */
export type QmpMessage =
  | { readonly kind: "greeting"; readonly version: string }
  | { readonly kind: "event"; readonly event: QmpEvent }
  | {
    readonly kind: "answer";
    readonly id: number;
    readonly value: unknown;
    readonly error: string | undefined;
  }
  | { readonly kind: "other" };

/** Reads one line; never throws. */
export function parseQmpLine(line: string): QmpMessage {
  let json: unknown;
  try {
    json = JSON.parse(line);
  } catch {
    return { kind: "other" };
  }
  const message = asRecord(json);
  if (!message) return { kind: "other" };
  if ("QMP" in message) {
    const qemu = asRecord(asRecord(asRecord(message.QMP)?.version)?.qemu);
    return { kind: "greeting", version: `${qemu?.major}.${qemu?.minor}.${qemu?.micro}` };
  }
  if (typeof message.event === "string") {
    return { kind: "event", event: { event: message.event, data: asRecord(message.data) ?? {} } };
  }
  if (typeof message.id !== "number") return { kind: "other" };
  const error = asRecord(message.error);
  if (!error && !("return" in message)) return { kind: "other" };
  return {
    kind: "answer",
    id: message.id,
    value: message.return,
    error: error ? String(error.desc ?? error.class) : undefined,
  };
}

function asRecord(value: unknown): Record<string, unknown> | undefined {
  return typeof value === "object" && value !== null && !Array.isArray(value)
    ? value as Record<string, unknown>
    : undefined;
}

/** Cuts a byte stream into lines of at most {@link MAX_LINE} bytes. */
export class QmpLines {
  readonly #parts: Uint8Array[] = [];
  #length = 0;

  /** Takes bytes (they are copied) and returns the lines that are now complete. */
  push(bytes: Uint8Array): string[] | "line-too-long" {
    const lines: string[] = [];
    let from = 0;
    for (;;) {
      const end = bytes.indexOf(10, from);
      const part = bytes.slice(from, end < 0 ? bytes.length : end);
      this.#length += part.length;
      if (this.#length > MAX_LINE) return "line-too-long";
      this.#parts.push(part);
      if (end < 0) return lines;
      lines.push(this.#join());
      from = end + 1;
    }
  }

  #join(): string {
    const all = new Uint8Array(this.#length);
    let at = 0;
    for (const part of this.#parts) {
      all.set(part, at);
      at += part.length;
    }
    this.#parts.length = 0;
    this.#length = 0;
    return new TextDecoder().decode(all);
  }
}
