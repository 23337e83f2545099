/**
 * The words of `omerta ssh`, as ssh(1) reads its own: options, whom to log in to, what to run. Only
 * the name of the VM is ours; everything else goes to ssh as it is.
 *
 * @module
 */

import { EXIT, OmertaError } from "../../lib/core/errors.ts";

/** Letters of ssh's options that are followed by a value (OpenSSH's ssh.c, `getopt`). */
const WITH_VALUE = new Set("BDEFIJLOPQRSWbceilmopw");

/** What they say. */
export interface SshWords {
  /** Options that stand before the VM. */
  readonly options: readonly string[];
  /** Whom to log in as; undefined: nobody is named. */
  readonly user: string | undefined;
  /** The VM, by name, id or address. */
  readonly vm: string;
  /** What stands behind it: more options of ssh, and what to run. */
  readonly rest: readonly string[];
}

/**
 * Reads them.
 *
 * @throws {OmertaError} `no-vm`, `bad-user`.
 */
export function parseSshWords(words: readonly string[]): SshWords {
  let at = 0;
  while (at < words.length && /^-[^-]/.test(words[at] ?? "")) at += wordsOf(words[at] ?? "");
  const options = words.slice(0, at);
  if (words[at] === "--") at++;
  const target = words[at];
  if (target === undefined) {
    throw new OmertaError("no-vm", "Cannot log in: no VM is named", {
      exit: EXIT.usage,
      next: "As in 'omerta ssh web'",
    });
  }
  const sign = target.lastIndexOf("@");
  const user = sign < 0 ? undefined : target.slice(0, sign);
  if (user === "" || user?.startsWith("-")) {
    throw new OmertaError("bad-user", `Cannot log in as '${user}': want the name of a user`, {
      exit: EXIT.usage,
    });
  }
  return { options, user, vm: target.slice(sign + 1), rest: words.slice(at + 1) };
}

/** How many words an option is: one, or two when its value is the next one. */
function wordsOf(option: string): number {
  for (let i = 1; i < option.length; i++) {
    if (WITH_VALUE.has(option.charAt(i))) return i === option.length - 1 ? 2 : 1;
  }
  return 1;
}
