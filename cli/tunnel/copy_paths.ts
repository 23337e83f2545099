/**
 * What the paths of `omerta cp` say, as scp reads them: a colon before any slash ends the name of a
 * VM.
 *
 * @module
 */

import { EXIT, OmertaError } from "../../lib/core/errors.ts";

const REMOTE = /^(?:([^@/:]+)@)?([^@/:]+):(.*)$/s;

/** A path. */
export interface CopyPath {
  /** The VM, by name or id; undefined: this computer. */
  readonly vm: string | undefined;
  /** Whom to log in as, when it says so. */
  readonly user: string | undefined;
  /** The path there. */
  readonly path: string;
}

/** Reads one. */
export function parseCopyPath(text: string): CopyPath {
  const [, user, vm, path] = REMOTE.exec(text) ?? [];
  return { vm, user, path: path ?? text };
}

/**
 * The one VM that paths name.
 *
 * @throws {OmertaError} `bad-paths` when they name none, or several.
 */
export function vmOf(paths: readonly CopyPath[]): string {
  const vms = new Set(paths.map(({ vm }) => vm).filter((vm) => vm !== undefined));
  const [vm] = vms;
  if (vm !== undefined && vms.size === 1) return vm;
  throw new OmertaError(
    "bad-paths",
    `Cannot copy: ${vm === undefined ? "no VM is named" : "more than one VM is named"}`,
    { exit: EXIT.usage, next: "As in 'omerta cp file web:/tmp'" },
  );
}
