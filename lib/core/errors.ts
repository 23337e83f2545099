/**
 * The one error class of the control path, and the exit codes of the command line.
 *
 * A message says what could not be done, to what, what was found and what is needed:
 * `Cannot start VM "web": memory is 96 MiB, need at least 128 MiB`. Sentence case, no full stop.
 * `next` says what the user can do about it. Faults on the data path are values, not errors.
 *
 * @module
 */

/** Exit codes of the command line. */
export const EXIT = {
  /** Everything asked for was done. */
  done: 0,
  /** It was tried and it failed. */
  failed: 1,
  /** The command, an option or a file of the user's is wrong. */
  usage: 2,
  /** Something is missing on this host: a program, an image, a right. */
  missing: 3,
  /** The other side was not reached, or did not answer in time. */
  unreachable: 4,
  /** The other side said no. */
  refused: 5,
} as const;

/** One of {@link EXIT}. */
export type ExitCode = (typeof EXIT)[keyof typeof EXIT];

/** Everything about an {@link OmertaError} but its message. */
export interface ErrorDetails {
  /** Exit code of a command that ends with this error. @default {1} */
  readonly exit?: ExitCode;
  /** What the user can do next: one sentence or one command. */
  readonly next?: string;
  /** The error underneath. */
  readonly cause?: unknown;
}

/** An error that a user may see. `code` is stable: programs match on it. */
export class OmertaError extends Error {
  /** Stable identifier, e.g. `port-in-use`. */
  readonly code: string;
  /** Exit code of a command that ends with this error. */
  readonly exit: ExitCode;
  /** What the user can do next. */
  readonly next: string | undefined;

  /**
   * An error for a user to see.
   *
   * @param code Stable identifier in kebab-case.
   * @param message Action, subject, got and wanted; sentence case, no full stop.
   * @param details Exit code, next step, cause.
   */
  constructor(code: string, message: string, details: ErrorDetails = {}) {
    super(message, details.cause === undefined ? undefined : { cause: details.cause });
    this.name = "OmertaError";
    this.code = code;
    this.exit = details.exit ?? EXIT.failed;
    this.next = details.next;
  }
}

/** The message of anything that was thrown. */
export function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
