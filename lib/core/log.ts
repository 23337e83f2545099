/**
 * Logs and events of a node.
 *
 * - `logs/omerta.log`: what the program does, a JSON line each, by category and level.
 * - `logs/events.jsonl`: what happened to this node and its VMs, for people and programs.
 *
 * Secrets are never handed to a logger: keys, links and seeds have no `toString` that shows them
 * and are not fields of anything that is logged.
 *
 * @module
 */

import { join } from "node:path";
import {
  configure,
  dispose,
  getJsonLinesFormatter,
  getLogger,
  type Logger,
  type LogLevel,
  type LogRecord,
} from "@logtape/logtape";
import { makePrivateFolder } from "./files.ts";

/** A log file is renamed to `<name>.1` when it has grown to this size, in bytes. */
const MAX_LOG_BYTES = 10 * 1024 * 1024;

/** Levels that `--log-level` takes. */
export const LOG_LEVELS = ["debug", "info", "warning", "error"] as const satisfies LogLevel[];

/** Logger of one area, e.g. `logger("provider")`. */
export function logger(area: string): Logger {
  return getLogger(["omerta", area]);
}

/** Sends the program's log to `<folder>/omerta.log`. @returns What ends it. */
export async function startLogging(folder: string, level: LogLevel): Promise<AsyncDisposable> {
  await makePrivateFolder(folder);
  const file = new LineFile(join(folder, "omerta.log"));
  const format = getJsonLinesFormatter();
  await configure({
    reset: true,
    sinks: {
      file: Object.assign((record: LogRecord) => file.write(format(record)), {
        [Symbol.dispose]: () => file[Symbol.dispose](),
      }),
    },
    loggers: [
      { category: "omerta", lowestLevel: level, sinks: ["file"] },
      { category: ["logtape", "meta"], lowestLevel: "warning", sinks: ["file"] },
    ],
  });
  return { [Symbol.asyncDispose]: () => dispose() };
}

/** What happened, to what, and what is worth knowing about it. Never a secret. */
export interface NodeEvent {
  /** Kebab-case word, e.g. `vm-ready`. */
  readonly event: string;
  /** The VM concerned. */
  readonly vm?: string;
  /** Anything else, of plain values. */
  readonly [field: string]: string | number | boolean | undefined;
}

/** The event log: every event is one line and is also handed to whoever listens. */
export class EventLog implements Disposable {
  readonly #file: LineFile;
  readonly #listeners = new Set<(event: NodeEvent & { readonly time: string }) => void>();

  /**
   * Opens the log.
   *
   * @param folder The log folder, which must exist.
   */
  constructor(folder: string) {
    this.#file = new LineFile(join(folder, "events.jsonl"));
  }

  /** Writes one event with the time of now. */
  add(event: NodeEvent): void {
    const line = { time: new Date().toISOString(), ...event };
    this.#file.write(JSON.stringify(line) + "\n");
    for (const listener of this.#listeners) listener(line);
  }

  /** Calls `listener` for every event from now on. @returns What ends it. */
  listen(listener: (event: NodeEvent & { readonly time: string }) => void): Disposable {
    this.#listeners.add(listener);
    return { [Symbol.dispose]: () => this.#listeners.delete(listener) };
  }

  /** Closes the file. */
  [Symbol.dispose](): void {
    this.#file[Symbol.dispose]();
  }
}

/**
 * A file that lines are added to, 0600, with one older generation. Writing is synchronous: a line
 * that was logged is in the file when the process dies.
 */
class LineFile implements Disposable {
  readonly #path: string;
  #file: Deno.FsFile;
  #size: number;

  constructor(path: string) {
    this.#path = path;
    this.#file = open(path);
    this.#size = this.#file.statSync().size;
  }

  write(line: string): void {
    const bytes = new TextEncoder().encode(line);
    if (this.#size + bytes.length > MAX_LOG_BYTES) this.#rotate();
    try {
      this.#file.writeSync(bytes);
      this.#size += bytes.length;
    } catch {
      // A full disk must not end the daemon because it cannot log that the disk is full.
    }
  }

  #rotate(): void {
    this.#file.close();
    Deno.renameSync(this.#path, `${this.#path}.1`);
    this.#file = open(this.#path);
    this.#size = 0;
  }

  [Symbol.dispose](): void {
    this.#file.close();
  }
}

function open(path: string): Deno.FsFile {
  return Deno.openSync(path, { append: true, create: true, mode: 0o600 });
}
