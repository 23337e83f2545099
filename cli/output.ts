/**
 * Everything the command line prints goes through here: results to standard output, words about
 * the work to standard error.
 *
 * @module
 */

import { styleText } from "node:util";

const encoder = new TextEncoder();

/** Prints a line of the result. */
export function print(line = ""): void {
  write(Deno.stdout, line + "\n");
}

/** Prints a line about the work to standard error. */
export function note(line: string): void {
  write(Deno.stderr, line + "\n");
}

/** Prints a warning to standard error. */
export function warn(line: string): void {
  note(`${paint("yellow", "Warning:")} ${line}`);
}

/** Prints a value as JSON, for programs. */
export function printJson(value: unknown): void {
  print(JSON.stringify(value, null, 2));
}

/** `text` in a colour or weight, where the terminal shows such and NO_COLOR is not set. */
export function paint(style: "bold" | "dim" | "green" | "red" | "yellow", text: string): string {
  return Deno.stderr.isTerminal() && Deno.stdout.isTerminal() && !Deno.noColor
    ? styleText(style, text, { validateStream: false })
    : text;
}

/** One line at the bottom of the terminal that says what is being waited for. */
export class StatusLine implements Disposable {
  readonly #shown = Deno.stderr.isTerminal();
  #visible = false;

  /** Shows `text` in place of what was shown. Nothing where there is no terminal. */
  show(text: string): void {
    if (!this.#shown) return;
    write(Deno.stderr, `\r\x1b[K${paint("dim", text)}`);
    this.#visible = true;
  }

  /** Removes it, before another line is printed. */
  clear(): void {
    if (this.#visible) write(Deno.stderr, "\r\x1b[K");
    this.#visible = false;
  }

  /** Removes it. */
  [Symbol.dispose](): void {
    this.clear();
  }
}

/** `1.5 GiB`, `300 MiB`: bytes for people. */
export function formatBytes(bytes: number): string {
  const units = ["B", "KiB", "MiB", "GiB", "TiB"];
  let value = bytes;
  let unit = 0;
  while (value >= 1024 && unit < units.length - 1) {
    value /= 1024;
    unit++;
  }
  return `${value >= 10 || unit === 0 ? Math.round(value) : value.toFixed(1)} ${units[unit]}`;
}

/** `41 s`, `3 min`, `2 h`, `4 d`: how long something has lasted. */
export function formatAge(ms: number): string {
  const seconds = Math.max(0, Math.round(ms / 1000));
  if (seconds < 120) return `${seconds} s`;
  if (seconds < 7200) return `${Math.floor(seconds / 60)} min`;
  if (seconds < 172_800) return `${Math.floor(seconds / 3600)} h`;
  return `${Math.floor(seconds / 86_400)} d`;
}

function write(to: { writeSync(bytes: Uint8Array): number }, text: string): void {
  const bytes = encoder.encode(text);
  try {
    for (let at = 0; at < bytes.length;) at += to.writeSync(bytes.subarray(at));
  } catch (error) {
    // The reader of the pipe has gone, as in `omerta vm list | head -1`.
    if (!(error instanceof Deno.errors.BrokenPipe)) throw error;
  }
}
