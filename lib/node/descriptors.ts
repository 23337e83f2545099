/**
 * Out of descriptors: the one failure of a lender's host that comes out of every call alike, as
 * whatever that call makes of it, and that its borrower is told in plain words.
 *
 * @module
 */

import { EXIT, OmertaError } from "../core/errors.ts";

/** EMFILE and ENFILE (errno(3)), as the runtime, QEMU and our own messages write them. */
const OUT_OF_DESCRIPTORS = /\bToo many open files\b|\bE[MN]FILE\b/;
/** Causes of causes that are looked at. */
const MAX_DEPTH = 8;

/** `error`, or an error that says so when this process, or this host, may open no more files. */
export function plainly(error: unknown): unknown {
  let cause: unknown = error;
  for (let depth = 0; depth < MAX_DEPTH && cause instanceof Error; depth++) {
    if (OUT_OF_DESCRIPTORS.test(cause.message)) {
      return new OmertaError(
        "no-descriptors",
        "Cannot lend another VM: this lender has too many open files (EMFILE)",
        {
          exit: EXIT.refused,
          next:
            "Tell the lender to allow its daemon more of them (ulimit -n), or to lend fewer VMs",
          cause: error,
        },
      );
    }
    cause = cause.cause;
  }
  return error;
}
