/**
 * The command line's side of the daemon's API.
 *
 * @module
 */

import { TextLineStream } from "./_line_stream.ts";
import type { z } from "zod";
import { EXIT, OmertaError } from "../core/errors.ts";
import { exists } from "../core/files.ts";
import {
  ApiError,
  ConsoleView,
  fromApiError,
  ReleaseView,
  type RequestBody,
  RequestEvent,
  StatusView,
  VmView,
} from "./schemas.ts";

/** Path of a borrowed VM. */
function vmPath(nameOrId: string): string {
  if (nameOrId !== "") return `/v1/vms/${encodeURIComponent(nameOrId)}`;
  throw new OmertaError("unknown-vm", "Cannot find a VM by an empty name", {
    exit: EXIT.usage,
    next: "See 'omerta vm list'",
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

  /** Gives a VM back. */
  async release(nameOrId: string): Promise<z.infer<typeof ReleaseView>> {
    return await this.#json(ReleaseView, "DELETE", vmPath(nameOrId));
  }

  /** The last lines of the console of a VM that is lent. */
  async console(nameOrId: string, lines: number): Promise<string[]> {
    const path = `/v1/lent/${encodeURIComponent(nameOrId)}/console?lines=${lines}`;
    return (await this.#json(ConsoleView, "GET", path)).lines;
  }

  /** Ends the daemon. */
  async stop(): Promise<void> {
    await this.#fetch("POST", "/v1/stop").then((response) => response.body?.cancel());
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
    const response = await this.#fetch("POST", "/v1/vms", body, signal);
    const lines = response.body
      ?.pipeThrough(new TextDecoderStream())
      .pipeThrough(new TextLineStream());
    for await (const line of lines ?? []) {
      const event = RequestEvent.parse(JSON.parse(line));
      if (event.kind === "done") return event.vm;
      if (event.kind === "error") throw fromApiError(event.error);
      onEvent(event);
    }
    throw new OmertaError("daemon-gone", "Cannot finish the request: the daemon has ended", {
      next: "See logs/omerta.log in OMERTA_HOME",
    });
  }

  async #json<T>(schema: z.ZodType<T>, method: string, path: string): Promise<T> {
    const response = await this.#fetch(method, path);
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
