/**
 * A lender and a borrower for a boot test, in one network namespace that has a loopback interface and
 * nothing else. So neither their ports nor the borrower's TUN interface can be in the way of a daemon
 * that runs on this host, and no packet of theirs can leave it.
 *
 * @module
 */

import { messageOf } from "../../lib/core/errors.ts";
import { run, spawn } from "../../lib/core/process.ts";
import { TUN_NAME } from "../../lib/node/tunnel_end.ts";
import { Pair } from "../../lib/pair/pair.ts";
import { inNetworkOf } from "../../vm/own_network.ts";
import type { Context } from "../context.ts";

/** Where the borrower finds the lender. */
export const LENDER_HOST = "127.0.0.1";
/** Starts a program in a network namespace of its own. */
const ALONE = ["--net", "--", "sh", "-c", 'ip link set lo up && exec "$@"', "sh"] as const;

/** Both daemons. */
export class TestWorld {
  /** They. */
  readonly pair: Pair;

  private constructor(pair: Pair) {
    this.pair = pair;
  }

  /** Starts both. */
  static async start({ module, paths }: Context, signal: AbortSignal): Promise<TestWorld> {
    return new TestWorld(
      await Pair.start({
        ...{ module, paths, signal, lenderAddress: LENDER_HOST },
        onLender: (program, args, options) =>
          spawn("unshare", [...ALONE, program, ...args], options),
        onBorrower: (lender) => (program, args, options) => {
          const [nsenter, ...words] = inNetworkOf(lender, [program, ...args]);
          return spawn(nsenter, words, options);
        },
      }),
    );
  }

  /** Runs a program where the daemons are. */
  run(command: readonly string[], signal?: AbortSignal): ReturnType<typeof run> {
    const [program, ...args] = inNetworkOf(this.pair.lender.pid, command);
    return run(program, args, signal ? { signal } : {});
  }

  /** Ends both and removes their folder. @returns What they left behind, in words. */
  async end(): Promise<string[]> {
    await using pair = this.pair;
    const left: string[] = [];
    await pair.borrower.end();
    try {
      const { stdout } = await this.run(["ip", "-brief", "link", "show"]);
      if (stdout.includes(TUN_NAME)) left.push(`the interface ${TUN_NAME}`);
    } catch (error) {
      left.push(`perhaps an interface: ${messageOf(error)}`);
    }
    await pair.lender.end();
    for await (const { name, isDirectory } of Deno.readDir(pair.lender.paths.vms)) {
      if (isDirectory) left.push(`the folder of VM ${name}`);
    }
    return left;
  }
}
