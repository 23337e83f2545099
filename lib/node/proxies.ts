/**
 * The ways that the user has opened from programs of this computer to borrowed VMs, and back.
 *
 * ```
 *            open() ----------> open <---+      held: closed when whoever holds it goes away,
 *                                |       |            or the daemon ends
 *   resume() of a new daemon     |       |      background: remembered until close(), in every
 *        |                       v       |            daemon of this home
 *        +----> not open, error -> retry()
 * ```
 *
 * One of the background that cannot be opened again stays listed with its error and is tried every
 * {@link RETRY_MS}. At most {@link MAX_REMEMBERED}, open or not; one more is refused.
 *
 * @module
 */

import { randomBytes } from "node:crypto";
import type { Plane, ProxySettings, ProxyStats } from "../../net/plane/plane.ts";
import { EXIT, messageOf, OmertaError } from "../core/errors.ts";
import { type EventLog, logger } from "../core/log.ts";
import { type ProxyRequest, proxyWords } from "./proxy_request.ts";
import { MAX_REMEMBERED, type ProxyStore, type RememberedProxy } from "./proxy_store.ts";

/** Longest path of the socket of `omerta nc`, in bytes. */
export { UNIX_PATH_MAX as MAX_PIPE_PATH } from "../../net/os/stream_socket.ts";

/** Time between two tries to open what could not be opened, in ms. */
export const RETRY_MS = 5_000;

/** One that is open, or is to be. */
export type OpenProxy = Omit<ProxyStats, "kind"> & {
  /** What it is. */
  readonly kind: ProxyRequest["kind"];
  /** Whether the next daemon opens it again. */
  readonly background: boolean;
  /** Why it is not open; undefined when it is. */
  readonly error: string | undefined;
};

/** What {@link OpenProxies} need. */
export interface ProxiesOptions {
  /** Data plane of the node. */
  readonly plane: Pick<Plane, "openProxy" | "closeProxy" | "stats">;
  /** Makes the stack that they go through, unless there is one. */
  readonly openStack: () => Promise<void>;
  /** Those of the background. */
  readonly store: Pick<ProxyStore, "load" | "save">;
  /** Where events go. */
  readonly events: EventLog;
}

/** One of them. */
interface Entry extends RememberedProxy {
  readonly background: boolean;
  /** Aborts when it was closed. */
  readonly closed: AbortController;
  error: string | undefined;
}

const log = logger("proxies");
const NO_NUMBERS = { active: 0, connections: 0, failed: 0, aborted: 0, bytesIn: 0, bytesOut: 0 };

/** Those of a node. */
export class OpenProxies implements Disposable {
  readonly #o: ProxiesOptions;
  readonly #entries = new Map<string, Entry>();
  #opening = 0;
  #timer: ReturnType<typeof setTimeout> | undefined;
  #over = false;

  /** None is open yet. */
  constructor(options: ProxiesOptions) {
    this.#o = options;
  }

  /**
   * Opens those of the background that a former daemon had.
   *
   * @param onWarning Called when they cannot be read, and for each that cannot be opened yet.
   */
  async resume(onWarning: (warning: string) => void): Promise<void> {
    for (const { id, request } of await this.#o.store.load(onWarning)) {
      const entry = entryOf(id, request, true);
      this.#entries.set(id, entry);
      await this.#tryAgain(entry);
      const { error } = entry;
      if (error !== undefined) onWarning(`Cannot open forward ${id} yet: ${error}`);
    }
    this.#arm();
  }

  /** All of them, in the order in which they were opened. */
  async list(): Promise<OpenProxy[]> {
    const { stack } = await this.#o.plane.stats();
    const open = new Map((stack?.proxies ?? []).map((stats) => [stats.id, stats]));
    return Array.from(this.#entries.values(), (entry): OpenProxy => {
      const { id, request, background, error } = entry;
      const numbers = open.get(id) ?? { id, ...proxyWords(request), ...NO_NUMBERS };
      return { ...numbers, kind: request.kind, background, error };
    });
  }

  /**
   * Opens one.
   *
   * @param background Whether it is remembered; otherwise somebody must {@link hold} it.
   * @throws {OmertaError} `port-in-use`, `listen-failed`, `too-many-proxies`, `write-failed`.
   */
  async open(request: ProxyRequest, background: boolean): Promise<OpenProxy> {
    if (this.#entries.size + this.#opening >= MAX_REMEMBERED) {
      throw new OmertaError(
        "too-many-proxies",
        `Cannot open another forward: ${MAX_REMEMBERED} is the limit`,
        { exit: EXIT.refused, next: "See 'omerta forward list'" },
      );
    }
    const entry = entryOf(randomBytes(4).toString("hex"), request, background);
    const { id } = entry;
    this.#opening++;
    try {
      await this.#open(entry);
    } finally {
      this.#opening--;
    }
    this.#entries.set(id, entry);
    try {
      if (background) await this.#save();
    } catch (error) {
      this.#entries.delete(id);
      await this.#closeInPlane(id);
      throw error;
    }
    const { listen, to } = proxyWords(request);
    const { kind } = request;
    this.#o.events.add({ event: "proxy-opened", id, kind, listen, ...(to ? { to } : {}) });
    return await this.#find(id);
  }

  /**
   * Closes one, resets its connections, and forgets it.
   *
   * @returns How it was.
   * @throws {OmertaError} `unknown-proxy`, `write-failed`.
   */
  async close(id: string): Promise<OpenProxy> {
    const proxy = await this.#find(id);
    const entry = this.#entries.get(id);
    this.#entries.delete(id);
    try {
      if (proxy.background) await this.#save();
    } catch (error) {
      if (entry !== undefined) this.#entries.set(id, entry);
      throw error;
    }
    await this.#o.plane.closeProxy(id);
    entry?.closed.abort();
    this.#o.events.add({ event: "proxy-closed", id });
    return proxy;
  }

  /**
   * Waits until `signal` aborts, then closes it; or until it is closed otherwise, which it may have
   * been since it was opened.
   *
   * @returns Whether it was closed otherwise.
   */
  async hold(id: string, signal: AbortSignal): Promise<boolean> {
    const closed = this.#entries.get(id)?.closed.signal;
    if (closed === undefined) return true;
    const either = AbortSignal.any([signal, closed]);
    if (!either.aborted) {
      await new Promise<void>((resolve) =>
        either.addEventListener("abort", () => resolve(), { once: true })
      );
    }
    if (this.#entries.delete(id)) {
      await this.#closeInPlane(id);
      this.#o.events.add({ event: "proxy-closed", id });
    }
    return closed.aborted;
  }

  /** Tries once more to open what could not be opened. */
  async retry(): Promise<void> {
    for (const entry of Array.from(this.#entries.values())) {
      if (entry.error === undefined || this.#over) continue;
      await this.#tryAgain(entry);
      if (entry.error === undefined) log.info("Forward {id} is open again", { id: entry.id });
    }
    this.#arm();
  }

  #arm(): void {
    clearTimeout(this.#timer);
    const waits = Array.from(this.#entries.values()).some(({ error }) => error !== undefined);
    if (waits && !this.#over) this.#timer = setTimeout(() => void this.retry(), RETRY_MS);
  }

  async #tryAgain(entry: Entry): Promise<void> {
    try {
      await this.#open(entry);
      entry.error = undefined;
      // It may have been closed meanwhile.
      if (!this.#entries.has(entry.id)) await this.#closeInPlane(entry.id);
    } catch (error) {
      entry.error = messageOf(error);
    }
  }

  async #open({ id, request }: Entry): Promise<void> {
    await this.#o.openStack();
    await this.#o.plane.openProxy(id, settingsOf(request));
  }

  async #closeInPlane(id: string): Promise<void> {
    try {
      await this.#o.plane.closeProxy(id);
    } catch (error) {
      log.debug("Cannot close proxy {id}: {error}", { id, error: messageOf(error) });
    }
  }

  #save(): Promise<void> {
    return this.#o.store.save(
      Array.from(this.#entries.values()).filter(({ background }) => background)
        .map(({ id, request }) => ({ id, request })),
    );
  }

  async #find(id: string): Promise<OpenProxy> {
    const found = (await this.list()).find((proxy) => proxy.id === id);
    if (found) return found;
    throw new OmertaError("unknown-proxy", `Cannot find a forward or SOCKS5 server '${id}'`, {
      exit: EXIT.usage,
      next: "See 'omerta forward list'",
    });
  }

  /** Tries nothing again. What is open goes with the data plane. */
  [Symbol.dispose](): void {
    this.#over = true;
    clearTimeout(this.#timer);
  }
}

function entryOf(id: string, request: ProxyRequest, background: boolean): Entry {
  return { id, request, background, closed: new AbortController(), error: undefined };
}

function settingsOf(request: ProxyRequest): ProxySettings {
  switch (request.kind) {
    case "forward":
      return { ...request, listen: { kind: "tcp", ...request.listen } };
    case "reverse":
      return { ...request, to: { kind: "tcp", ...request.to } };
    case "socks":
      return {
        kind: "socks",
        listen: { kind: "tcp", ...request.listen },
        credentials: request.credentials ?? undefined,
      };
  }
}
