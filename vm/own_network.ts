/**
 * Network namespaces without a name, for tests that must not touch this host's network: one belongs
 * to the process that was started in it and is gone, with every interface inside, when the last
 * process in it has ended. So nothing has to be cleaned up, however a test ends.
 *
 * Read network_namespaces(7), unshare(1) and nsenter(1).
 *
 * @module
 */

import { EXIT, OmertaError } from "../lib/core/errors.ts";
import { run } from "../lib/core/process.ts";
import { programMissing } from "./requirements.ts";

/** What the kernel makes TUN and TAP interfaces by. */
const TUN_DEVICE = "/dev/net/tun";

/**
 * Checks that this process may make a network namespace, and TUN and TAP interfaces inside.
 *
 * @param what What needs it, for the error: "boot test e2e".
 * @throws {OmertaError} `root-missing`, `tun-missing`, `unshare-missing` or, for `ip`,
 * `program-missing`, all with exit code 3.
 */
export async function checkOwnNetwork(what: string): Promise<void> {
  await run("ip", ["-V"]); // what sets interfaces up
  let words: string;
  try {
    const { code, stderr } = await run("unshare", ["--net", "--", "true"], { timeoutMs: 10_000 });
    words = code === 0 ? "" : stderr.trim();
  } catch (error) {
    throw programMissing(error, "unshare");
  }
  if (words !== "") {
    throw new OmertaError(
      "root-missing",
      `Cannot run ${what}: it needs root, for a network namespace of its own (${words})`,
      { exit: EXIT.missing, next: "Run it with sudo, or try --mode reverse-ssh" },
    );
  }
  try {
    using _device = await Deno.open(TUN_DEVICE, { read: true, write: true });
  } catch (error) {
    throw new OmertaError("tun-missing", `Cannot run ${what}: ${TUN_DEVICE} does not open`, {
      exit: EXIT.missing,
      next: "Run 'sudo modprobe tun'",
      cause: error,
    });
  }
}

/** `command` as it runs in the network namespace of process `pid`: a program and its arguments. */
export function inNetworkOf(pid: number, command: readonly string[]): [string, ...string[]] {
  return ["nsenter", `--net=/proc/${pid}/ns/net`, "--", ...command];
}
