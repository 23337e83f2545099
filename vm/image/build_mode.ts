/**
 * How the tree of an image comes to belong to root: who builds it is root, or is so in a user
 * namespace, or is told so. See mmdebstrap(1), "MODES".
 *
 * - `root`: as root, in a mount namespace. mmdebstrap mounts /proc and /sys in the tree: nobody else
 *   sees them, and they are gone with the namespace, however it ends.
 * - `unshare`: an ordinary user who has a range of subordinate ids becomes root of a user namespace.
 * - `fakechroot`: a library answers every program as root would be answered; who owns what is a list
 *   in memory. Needs no right at all, and is the slowest.
 *
 * A kernel setting, a container or a missing line in a file may forbid the first two, so each is
 * tried before it is chosen, with the very program that will need it.
 *
 * @module
 */

import { EXIT, messageOf, OmertaError } from "../../lib/core/errors.ts";
import { run } from "../../lib/core/process.ts";

/** One way to build. */
export interface BuildMode {
  /** What mmdebstrap calls it. */
  readonly name: "root" | "unshare" | "fakechroot";
  /** What comes before mmdebstrap, which gets into `unshare` and `fakechroot` by itself. */
  readonly builder: readonly string[];
  /** What comes before a program that unpacks the tree, so that it sees who owns what. */
  readonly unpacker: readonly string[];
  /** Whether temporary files may lie in the user's own folders: a user namespace cannot see those. */
  readonly seesHome: boolean;
}

const ROOT: BuildMode = {
  name: "root",
  builder: ["unshare", "--mount"],
  unpacker: ["unshare", "--mount"],
  seesHome: true,
};
const UNSHARE: BuildMode = {
  name: "unshare",
  builder: [],
  unpacker: ["mmdebstrap", "--unshare-helper"],
  seesHome: false,
};
const FAKECHROOT: BuildMode = {
  name: "fakechroot",
  builder: [],
  unpacker: ["fakeroot"],
  seesHome: true,
};

/** Time for a program that does nothing, in ms. */
const TRIAL_MS = 20_000;

/** What runs nothing in a mode: it succeeds where the mode can be had. */
function trialOf({ name, unpacker }: BuildMode): readonly string[] {
  return name === "fakechroot" ? ["fakechroot", "fakeroot", "true"] : [...unpacker, "true"];
}

/**
 * The first mode that works on this host.
 *
 * @param isRoot Whether this is root.
 * @throws {OmertaError} `image-build-forbidden` when none does, with what each one said.
 */
export async function chooseBuildMode(isRoot: boolean): Promise<BuildMode> {
  const failures: string[] = [];
  for (const mode of [isRoot ? ROOT : UNSHARE, FAKECHROOT]) {
    const why = await whyNot(mode);
    if (why === undefined) return mode;
    failures.push(`mode ${mode.name}: ${why}`);
  }
  throw new OmertaError(
    "image-build-forbidden",
    `Cannot build an image as ${isRoot ? "root" : "an ordinary user"}: ${failures.join("; ")}`,
    {
      exit: EXIT.missing,
      next: isRoot
        ? "Run: apt install fakechroot fakeroot"
        : "Run as root: apt install uidmap fakechroot fakeroot; one of the two modes then works " +
          "('unshare' also needs a range for this user in /etc/subuid and /etc/subgid)",
    },
  );
}

/** Why a mode cannot be had here, in the words of what was tried; undefined when it can. */
async function whyNot(mode: BuildMode): Promise<string | undefined> {
  const [program = "", ...args] = trialOf(mode);
  try {
    const { code, stderr } = await run(program, args, { timeoutMs: TRIAL_MS });
    if (code === 0) return undefined;
    const words = stderr.trim().replaceAll(/\s*\n\s*/g, ", ");
    return words === "" ? `${program} ended with exit code ${code}` : words;
  } catch (error) {
    return messageOf(error);
  }
}
