/**
 * What a guest prints on its serial port: cut into clean lines, searched for the words that tell
 * how far it has come, and kept within bounds on disk.
 *
 * The guest is not trusted: control sequences never get through, a line is at most
 * {@link MAX_LINE} characters, the log at most twice {@link LOG_BYTES}, and a guest that floods its
 * console is read no faster than {@link BYTES_PER_SECOND}; then it waits, not this host.
 *
 * The guest's own words:
 *
 * ```
 * OMERTA-STAGE cloud-init [detail]     it has set itself up
 * OMERTA-FAULT reason                  it could not
 * ```
 *
 * @module
 */

import { delay } from "./_wait.ts";

/** Longest line kept, in characters; a longer one is cut into several. */
export const MAX_LINE = 1000;
/** Lines kept in memory. */
export const KEPT_LINES = 500;
/** Size at which the log is set aside and begun anew, in bytes. */
export const LOG_BYTES = 1 << 20;
/** Console bytes read in one second. */
export const BYTES_PER_SECOND = 512 * 1024;

/** Something that a console line tells. */
export type ConsoleEvent =
  | {
    /** The kernel has printed something. */
    readonly kind: "kernel";
  }
  | {
    /** The guest names a stage. */
    readonly kind: "stage";
    /** Its name; any word, for the guest chose it. */
    readonly name: string;
    /** What stands behind it. */
    readonly detail: string;
  }
  | {
    /** It will not get further. */
    readonly kind: "fault";
    /** Why, in words. */
    readonly reason: string;
  };

const FAULTS: readonly (readonly [RegExp, string])[] = [
  [/OMERTA-FAULT (.+)/, "the guest reports: $1"],
  [/VFS: Unable to mount root fs|VFS: Cannot open root device/, "the kernel found no root device"],
  [/ALERT! +(\S+) does not exist/, "the root device $1 does not exist"],
  [/Kernel panic - not syncing: (.+)/, "kernel panic: $1"],
  [/(?:You are in|Entering) emergency mode/, "the guest is in emergency mode"],
  [/^No bootable device|No bootable option or device was found/, "the disk has no boot loader"],
  [/^grub rescue>/, "the boot loader found no kernel"],
];

const KERNEL = /Linux version |^\[ *\d+\.\d{6}\]|^EFI stub: |^systemd\[1\]: |^Welcome to /;

/** What one clean line tells, if anything. */
export function readConsoleLine(line: string): ConsoleEvent | undefined {
  for (const [pattern, reason] of FAULTS) {
    const found = pattern.exec(line);
    if (found) return { kind: "fault", reason: reason.replace("$1", () => found[1]?.trim() ?? "") };
  }
  const stage = /OMERTA-STAGE ([a-z][a-z-]{0,31})(?: (.*))?$/.exec(line);
  if (stage) return { kind: "stage", name: stage[1] ?? "", detail: stage[2]?.trim() ?? "" };
  return KERNEL.test(line) ? { kind: "kernel" } : undefined;
}

/** Cuts console bytes into clean lines. Pure: bytes in, lines out. */
export class ConsoleReader {
  readonly #lines: string[] = [];
  /** Bytes of the line that is not complete. */
  readonly #line = new Uint8Array(MAX_LINE);
  #length = 0;
  /** Where in an escape sequence (ECMA-48) the stream stands. */
  #escape: "none" | "begun" | "csi" | "string" | "string-end" = "none";

  /** Takes bytes in any portions and returns the lines that are now complete. Never throws. */
  push(bytes: Uint8Array): string[] {
    const done: string[] = [];
    for (const byte of bytes) {
      // A line feed ends any sequence, so that a stray escape cannot swallow the rest of the log.
      if (byte === 0x0a) {
        this.#escape = "none";
        this.#endLine(done);
      } else if (this.#escape !== "none" && this.#skip(byte)) continue;
      else if (byte === 0x1b) this.#escape = "begun";
      else if (byte === 0x09 || (byte >= 0x20 && byte !== 0x7f)) {
        this.#line[this.#length++] = byte;
        if (this.#length === MAX_LINE) this.#endLine(done);
      }
    }
    return done;
  }

  /** The last `count` lines, oldest first, with the unfinished one. */
  lines(count: number): string[] {
    const unfinished = this.#text();
    const all = unfinished === "" ? this.#lines : [...this.#lines, unfinished];
    return all.slice(-count);
  }

  /** Whether `byte` belongs to the sequence; one that was cut short (systemd does that) ends. */
  #skip(byte: number): boolean {
    switch (this.#escape) {
      case "begun":
        if (byte === 0x5b) this.#escape = "csi";
        else if (byte === 0x5d || byte === 0x50 || byte === 0x5f || byte === 0x5e) {
          this.#escape = "string";
        } else if (byte < 0x20 || byte > 0x2f) this.#escape = "none";
        return byte < 0x80;
      case "csi":
        if (byte < 0x20 || byte > 0x3f) this.#escape = "none";
        return byte < 0x7f && byte !== 0x1b;
      case "string":
        if (byte === 0x07) this.#escape = "none";
        else if (byte === 0x1b) this.#escape = "string-end";
        return true;
      case "string-end":
        this.#escape = byte === 0x5c ? "none" : "string";
        return true;
      case "none":
        return false;
    }
  }

  #text(): string {
    return new TextDecoder().decode(this.#line.subarray(0, this.#length))
      // C1 controls and marks that turn the direction of text.
      .replace(/[\u0080-\u009f\u200e\u200f\u202a-\u202e\u2066-\u2069]/g, "").trimEnd();
  }

  #endLine(done: string[]): void {
    const line = this.#text();
    this.#length = 0;
    if (line === "") return;
    this.#lines.push(line);
    if (this.#lines.length > KEPT_LINES) this.#lines.shift();
    done.push(line);
  }
}

/** A file that is set aside as `.1` when it is full, so that at most two of them exist. */
export class BoundedLog implements AsyncDisposable {
  readonly #path: string;
  readonly #limit: number;
  #file: Deno.FsFile;
  #size = 0;

  private constructor(path: string, limit: number, file: Deno.FsFile) {
    this.#path = path;
    this.#limit = limit;
    this.#file = file;
  }

  /** Begins the log at `path`; `limit` is in bytes. */
  static async create(path: string, limit = LOG_BYTES): Promise<BoundedLog> {
    return new BoundedLog(path, limit, await openNew(path));
  }

  /** Appends; a failed write (full disk) is left out, for the console goes on without it. */
  async write(bytes: Uint8Array): Promise<void> {
    try {
      for (let at = 0; at < bytes.length;) {
        if (this.#size >= this.#limit) await this.#turn();
        const room = bytes.subarray(at, at + this.#limit - this.#size);
        const n = await this.#file.write(room);
        at += n;
        this.#size += n;
      }
    } catch {
      return;
    }
  }

  async #turn(): Promise<void> {
    await Deno.rename(this.#path, `${this.#path}.1`);
    const next = await openNew(this.#path);
    this.#file.close();
    this.#file = next;
    this.#size = 0;
  }

  /** Closes the file. */
  [Symbol.asyncDispose](): Promise<void> {
    this.#file.close();
    return Promise.resolve();
  }
}

async function openNew(path: string): Promise<Deno.FsFile> {
  return await Deno.open(path, { write: true, create: true, truncate: true, mode: 0o600 });
}

/**
 * Reads a console until it ends, no faster than {@link BYTES_PER_SECOND}.
 *
 * @param onBytes Called for every portion; the array is used again afterwards.
 */
export async function followConsole(
  conn: Deno.Conn,
  onBytes: (bytes: Uint8Array) => Promise<void>,
  signal: AbortSignal,
): Promise<void> {
  const chunk = new Uint8Array(16 * 1024);
  let second = 0;
  let taken = 0;
  try {
    for (;;) {
      const n = await conn.read(chunk);
      if (n === null) return;
      await onBytes(chunk.subarray(0, n));
      const now = performance.now();
      if (now - second >= 1000) {
        second = now;
        taken = 0;
      }
      taken += n;
      if (taken > BYTES_PER_SECOND) await delay(second + 1000 - now, signal);
    }
  } catch {
    // Closed by us, or QEMU is gone: its exit is seen elsewhere.
  }
}
