/**
 * The command line's side of the daemon's API.
 *
 * @module
 */

import { TextLineStream } from "./line_stream.ts";
import { z } from "zod";
import { EXIT, OmertaError } from "../core/errors.ts";
import { exists } from "../core/files.ts";
import {
  AlarmsView,
  type AlarmView,
  ApiError,
  ConnectionsView,
  ConsoleView,
  fromApiError,
  GoneView,
  RefusedView,
  RehearsalView,
  ReleaseView,
  type RequestBody,
  RequestEvent,
  StatusView,
  VmView,
} from "./schemas.ts";
import { HeldEvent, ProxiesView, type ProxyBody, ProxyView } from "./proxy_schemas.ts";
import {
  type ClientBody,
  ClientView,
  type PingBody,
  PingView,
  type ServerBody,
  ServerView,
  TunnelsView,
} from "./tunnel_schemas.ts";

/** Path of a borrowed VM. */
function vmPath(nameOrId: string): string {
  if (nameOrId !== "") return `/v1/vms/${encodeURIComponent(nameOrId)}`;
  throw new OmertaError("unknown-vm", "Cannot find a VM by an empty name", {
    exit: EXIT.usage,
    next: "See 'omerta vm list'",
  });
}

/** How {@link ApiClient.withVm} borrows. */
export interface VmUse {
  /** Called for each step. */
  readonly onEvent: (event: RequestEvent) => void;
  /** Called when the VM was given back, with the error when its lender could not be told. */
  readonly onReleased: (error?: unknown) => void;
  /** Gives the VM up. */
  readonly signal: AbortSignal;
}

/** What {@link ApiClient.withVm} borrows for; the signal aborts also when the VM is lost. */
export type VmWork<T> = (vm: VmView, signal: AbortSignal) => Promise<T>;

/** Takes steps until the VM is ready. */
async function untilDone(
  steps: AsyncGenerator<RequestEvent, undefined>,
  onEvent: (event: RequestEvent) => void,
): Promise<VmView> {
  while (true) {
    const { value: event } = await steps.next();
    if (event?.kind === "done") return event.vm;
    if (event?.kind === "error") throw fromApiError(event.error);
    if (event === undefined) {
      throw new OmertaError("daemon-gone", "Cannot finish the request: the daemon has ended", {
        next: "See logs/omerta.log in OMERTA_HOME",
      });
    }
    onEvent(event);
  }
}

/** The lines of an answer, as they come. */
function linesOf(response: Response): AsyncIterable<string> {
  const { body } = response;
  if (body === null) throw new TypeError("Cannot read an answer: it has no body");
  return body.pipeThrough(new TextDecoderStream()).pipeThrough(new TextLineStream());
}

function lostError(vm: VmView, reason: string): OmertaError {
  return new OmertaError("vm-lost", `Cannot go on with VM "${vm.name}": ${reason}`, {
    exit: EXIT.refused,
    next: "See 'omerta vm list' and 'omerta vm logs'",
  });
}

/** Talks to the daemon of one home. */
export class ApiClient implements Disposable {
  readonly #client: Deno.HttpClient;
  readonly #path: string;

  /**
   * A client of the daemon behind a socket.
   *
   * @param path The daemon's unix socket.
   */
  constructor(path: string) {
    this.#path = path;
    this.#client = Deno.createHttpClient({ proxy: { transport: "unix", path } });
  }

  /** Whether a daemon answers. */
  async isUp(): Promise<boolean> {
    if (!await exists(this.#path)) return false;
    try {
      await this.status();
      return true;
    } catch {
      return false;
    }
  }

  /** What the daemon tells about itself. */
  status(): Promise<StatusView> {
    return this.#json(StatusView, "GET", "/v1/status");
  }

  /** A borrowed VM, by name or prefix of its id. */
  async vm(nameOrId: string): Promise<VmView> {
    return await this.#json(VmView, "GET", vmPath(nameOrId));
  }

  /**
   * Waits until a VM is not borrowed any more.
   *
   * @param signal Stops waiting.
   * @throws {OmertaError} `vm-lost`, with the reason: it never returns. Or what the daemon says.
   */
  async untilGone(vm: VmView, signal: AbortSignal): Promise<never> {
    const response = await this.#fetch("GET", `${vmPath(vm.id)}/gone`, undefined, signal);
    throw lostError(vm, GoneView.parse(await response.json()).reason);
  }

  /** Gives a VM back. */
  async release(nameOrId: string): Promise<z.infer<typeof ReleaseView>> {
    return await this.#json(ReleaseView, "DELETE", vmPath(nameOrId));
  }

  /** The tunnels of the node. */
  tunnels(): Promise<TunnelsView> {
    return this.#json(TunnelsView, "GET", "/v1/tunnels");
  }

  /** Sends one echo request to a borrowed VM, named by name, id or address. */
  ping(body: PingBody): Promise<PingView> {
    return this.#json(PingView, "POST", "/v1/ping", body);
  }

  /** The forwards and SOCKS5 servers that are open. */
  async proxies(): Promise<ProxyView[]> {
    return (await this.#json(ProxiesView, "GET", "/v1/proxies")).proxies;
  }

  /** Opens one that stays, and that the next daemon opens again. */
  openProxy(body: ProxyBody): Promise<ProxyView> {
    return this.#json(ProxyView, "POST", "/v1/proxies", body);
  }

  /**
   * Opens one and keeps it until `signal` aborts, or this process ends in any way. Returns when it was
   * closed otherwise.
   *
   * @param onOpen Called when it is open.
   * @throws {OmertaError} Why it cannot be opened; `daemon-gone` when it was open and the daemon ended.
   */
  async holdProxy(
    body: ProxyBody,
    onOpen: (proxy: ProxyView) => void,
    signal: AbortSignal,
  ): Promise<void> {
    const response = await this.#fetch("POST", "/v1/proxies/held", body, signal);
    try {
      for await (const line of linesOf(response)) {
        const event = HeldEvent.parse(JSON.parse(line));
        if (event.kind === "stopped") return;
        onOpen(event.proxy);
      }
    } catch (error) {
      signal.throwIfAborted();
      if (!(error instanceof TypeError)) throw error;
      // A daemon that was killed ends the answer in the middle.
    }
    throw new OmertaError("daemon-gone", "Cannot go on: the daemon has ended", {
      exit: EXIT.unreachable,
    });
  }

  /** Closes one. @returns How it was. */
  closeProxy(id: string): Promise<ProxyView> {
    return this.#json(ProxyView, "DELETE", `/v1/proxies/${encodeURIComponent(id)}`);
  }

  /** Has the tunnel of a WireGuard on this computer carried to a VM. */
  async setClient(nameOrId: string, body: ClientBody): Promise<ClientView> {
    return await this.#json(ClientView, "PUT", `${vmPath(nameOrId)}/client`, body);
  }

  /** Ends that. @returns Whether there was one. */
  async removeClient(nameOrId: string): Promise<boolean> {
    const path = `${vmPath(nameOrId)}/client`;
    return (await this.#json(z.object({ removed: z.boolean() }), "DELETE", path)).removed;
  }

  /** Has the tunnel of a VM carried to a server. */
  async setServer(nameOrId: string, body: ServerBody): Promise<ServerView> {
    return await this.#json(ServerView, "PUT", `${vmPath(nameOrId)}/server`, body);
  }

  /** The last lines of the console of a VM that is lent. */
  async console(nameOrId: string, lines: number): Promise<string[]> {
    const path = `/v1/lent/${encodeURIComponent(nameOrId)}/console?lines=${lines}`;
    return (await this.#json(ConsoleView, "GET", path)).lines;
  }

  /** The last refused frames of a VM that is lent. */
  async refused(nameOrId: string): Promise<RefusedView> {
    const path = `/v1/lent/${encodeURIComponent(nameOrId)}/refused`;
    return await this.#json(RefusedView, "GET", path);
  }

  /** Alarms about a VM that is lent or was; about all without. `clear` forgets them as well. */
  async alarms(nameOrId: string | undefined, clear: boolean): Promise<AlarmView[]> {
    const query = nameOrId === undefined ? "" : `?vm=${encodeURIComponent(nameOrId)}`;
    const method = clear ? "DELETE" : "GET";
    return (await this.#json(AlarmsView, method, `/v1/alarms${query}`)).alarms;
  }

  /** What a VM that is lent is connected to, as the lender's host sees it. */
  connections(nameOrId: string): Promise<ConnectionsView> {
    const path = `/v1/lent/${encodeURIComponent(nameOrId)}/connections`;
    return this.#json(ConnectionsView, "GET", path);
  }

  /** What the filter of a VM that is lent would do with frames from its cable. */
  async rehearse(
    nameOrId: string,
    frames: readonly Uint8Array[],
  ): Promise<RehearsalView["frames"]> {
    const path = `/v1/lent/${encodeURIComponent(nameOrId)}/rehearsal`;
    const body = { frames: frames.map((frame) => frame.toHex()) };
    return (await this.#json(RehearsalView, "POST", path, body)).frames;
  }

  /** Ends the daemon. */
  async stop(): Promise<void> {
    await this.#fetch("POST", "/v1/stop").then((response) => response.body?.cancel());
  }

  /**
   * Borrows a VM for as long as `work` takes. However this ends, the VM is given back: by this, or
   * by the daemon, which does it when this process dies. Only a daemon that is killed leaves it
   * borrowed: `vm-lost` then says where to look.
   *
   * @param use.onEvent Called for each step.
   * @param use.onReleased Called when it was given back, with the error when the lender was not told.
   * @param use.signal Gives it up.
   * @param work Gets the VM, and a signal that aborts also when the VM is lost.
   * @throws {OmertaError} The daemon's or the lender's, `vm-lost`, or whatever `work` throws.
   */
  async withVm<T>(body: RequestBody, use: VmUse, work: VmWork<T>): Promise<T> {
    const connection = new AbortController();
    const steps = this.#steps({ ...body, wait: true, hold: true }, connection.signal);
    const giveUp = (): void => connection.abort(use.signal.reason);
    use.signal.throwIfAborted();
    use.signal.addEventListener("abort", giveUp, { once: true });
    let vm: VmView;
    try {
      vm = await untilDone(steps, use.onEvent);
    } catch (error) {
      connection.abort();
      throw error;
    } finally {
      use.signal.removeEventListener("abort", giveUp);
    }
    const lost = new AbortController();
    const watched = steps.next().then(
      ({ value }) => value?.kind === "gone" ? value.reason : "the daemon has ended",
      () => "the daemon has ended",
    ).then((reason) => lost.abort(lostError(vm, reason)));
    try {
      return await work(vm, AbortSignal.any([use.signal, lost.signal]));
    } finally {
      if (!lost.signal.aborted) {
        await this.release(vm.id).then(() => use.onReleased(), (error) => use.onReleased(error));
      }
      connection.abort();
      await watched;
    }
  }

  /**
   * Borrows a VM.
   *
   * @param onEvent Called for each step.
   * @param signal Gives the request up; the daemon then cleans up.
   * @throws {OmertaError} The daemon's, or the lender's.
   */
  async request(
    body: RequestBody,
    onEvent: (event: RequestEvent) => void,
    signal: AbortSignal,
  ): Promise<VmView> {
    const steps = this.#steps(body, signal);
    try {
      return await untilDone(steps, onEvent);
    } finally {
      await steps.return(undefined);
    }
  }

  /** What the daemon tells about a request. */
  async *#steps(body: RequestBody, signal: AbortSignal): AsyncGenerator<RequestEvent, undefined> {
    const response = await this.#fetch("POST", "/v1/vms", body, signal);
    for await (const line of linesOf(response)) yield RequestEvent.parse(JSON.parse(line));
  }

  async #json<T>(
    schema: z.ZodType<T>,
    method: string,
    path: string,
    body?: unknown,
  ): Promise<T> {
    const response = await this.#fetch(method, path, body);
    return schema.parse(await response.json());
  }

  async #fetch(
    method: string,
    path: string,
    body?: unknown,
    signal?: AbortSignal,
  ): Promise<Response> {
    let response: Response;
    try {
      // An address, not a name: a name would be looked up, and where no name server answers that
      // takes five seconds.
      response = await fetch(`http://127.0.0.1${path}`, {
        method,
        client: this.#client,
        ...(body === undefined ? {} : { body: JSON.stringify(body) }),
        ...(signal === undefined ? {} : { signal }),
      });
    } catch (error) {
      signal?.throwIfAborted();
      throw new OmertaError(
        "no-daemon",
        `Cannot reach the daemon at ${this.#path}: it does not run`,
        { exit: EXIT.unreachable, next: "Start it with 'omerta daemon start'", cause: error },
      );
    }
    if (response.ok) return response;
    throw fromApiError(ApiError.parse(await response.json()));
  }

  /** Closes the connections. */
  [Symbol.dispose](): void {
    this.#client.close();
  }
}
