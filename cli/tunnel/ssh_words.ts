/**
 * The words of `omerta ssh`, as ssh(1) reads its own: options, whom to log in to, more options, what
 * to run. Only the name of the VM is ours; everything else goes to ssh as it is.
 *
 * @module
 */

import { EXIT, OmertaError } from "../../lib/core/errors.ts";
import { SSH_PATIENCE, SSH_USER } from "../../lib/node/known_hosts.ts";

/** Letters of ssh's options that are followed by a value (OpenSSH's ssh.c, `getopt`). */
const WITH_VALUE = new Set("BDEFIJLOPQRSWbceilmopw");

/** What an error about them says besides. */
const USAGE = { exit: EXIT.usage, next: "As in 'omerta ssh web'" } as const;

/** What they say. */
export interface SshWords {
  /** Options that stand before the VM. */
  readonly options: readonly string[];
  /** Whom to log in as; undefined: nobody is named. */
  readonly user: string | undefined;
  /** The VM, by name, id or address. */
  readonly vm: string;
  /** Options that stand behind it. */
  readonly more: readonly string[];
  /** What to run there. */
  readonly command: readonly string[];
}

/**
 * Reads them.
 *
 * @throws {OmertaError} `no-vm`, `bad-user`, `bad-vm`, `bad-option`.
 */
export function parseSshWords(words: readonly string[]): SshWords {
  const before = splitOptions(words);
  const [target, ...rest] = before.rest;
  if (target === undefined) {
    throw new OmertaError("no-vm", "Cannot log in: no VM is named", USAGE);
  }
  const sign = target.lastIndexOf("@");
  const user = sign < 0 ? undefined : target.slice(0, sign);
  if (user === "" || user?.startsWith("-")) {
    throw new OmertaError("bad-user", `Cannot log in as '${user}': want the name of a user`, USAGE);
  }
  const vm = target.slice(sign + 1);
  if (vm.startsWith("-")) {
    throw new OmertaError("bad-vm", `Cannot log in to '${vm}': want the name of a VM`, USAGE);
  }
  const behind = before.ended ? { options: [], rest } : splitOptions(rest);
  return { options: before.options, user, vm, more: behind.options, command: behind.rest };
}

/**
 * They, as ssh is to read them behind the settings that say who is who. Of two values of a setting it
 * takes the first: how long to wait, and whom to log in as, is the user's to say, also behind the VM.
 */
export function sshArguments(
  { options, user, more, command }: SshWords,
  address: string,
): string[] {
  const target = user === undefined ? address : `${user}@${address}`;
  const defaults = [...SSH_PATIENCE, "-l", SSH_USER];
  return [...options, target, ...more, ...defaults, "--", ...command];
}

/** The options that lead some words, and what stands behind them and behind a `--`, which ends them. */
function splitOptions(
  words: readonly string[],
): { options: readonly string[]; rest: readonly string[]; ended: boolean } {
  let at = 0;
  while (at < words.length && /^-[^-]/.test(words[at] ?? "")) {
    const option = words[at] ?? "";
    at += wordsOf(option);
    if (at > words.length) {
      throw new OmertaError("bad-option", `Cannot use ssh's option '${option}': want its value`, {
        exit: EXIT.usage,
      });
    }
  }
  const ended = words[at] === "--";
  return { options: words.slice(0, at), rest: words.slice(ended ? at + 1 : at), ended };
}

/** How many words an option is: one, or two when its value is the next one. */
function wordsOf(option: string): number {
  for (let i = 1; i < option.length; i++) {
    if (WITH_VALUE.has(option.charAt(i))) return i === option.length - 1 ? 2 : 1;
  }
  return 1;
}
