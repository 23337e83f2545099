/**
 * The network in which forwarders are compared: all of them in one namespace, whose only neighbour is
 * the namespace of the far end.
 *
 * ```
 *   load (first processor)          forwarder (second processor)
 *   guest's end  <----------------> guest's side of it
 *                                     |  host: 192.168.78.1
 *                                     | veth
 *   far end      <--------------------+  net:  192.168.78.2
 * ```
 *
 * @module
 */

import { OmertaError } from "../../../lib/core/errors.ts";
import { type Namespace, NetLab } from "../../netlab/netlab.ts";
import { until } from "../../support/until.ts";
import { processors } from "./processors.ts";

/** Address of the forwarders. */
export const HOST = "192.168.78.1";
/** Address of the far end. */
export const NET = "192.168.78.2";

/** Namespaces, and what runs in them; all of it ends when this is disposed. */
export class BenchNet implements AsyncDisposable {
  /** Where forwarders run. */
  readonly host: Namespace;
  /** The far end. */
  readonly net: Namespace;
  readonly #lab: NetLab;

  private constructor(lab: NetLab, host: Namespace, net: Namespace) {
    this.#lab = lab;
    this.host = host;
    this.net = net;
  }

  /** Makes the namespaces; nothing runs yet. */
  static async create(): Promise<BenchNet> {
    await using owned = new AsyncDisposableStack();
    const lab = owned.use(await NetLab.create());
    const host = await lab.namespace("host");
    const net = await lab.namespace("net");
    await lab.connect(host, `${HOST}/24`, net, `${NET}/24`);
    await host.route("add", "default", "via", NET);
    owned.move();
    return new BenchNet(lab, host, net);
  }

  /** A namespace for a guest, with nothing but its loopback interface. */
  guest(label: string): Promise<Namespace> {
    return this.#lab.namespace(label);
  }

  /** Starts a forwarder, on its processor. */
  startForwarder(
    program: string,
    args: readonly string[],
    options: Omit<Deno.CommandOptions, "args"> = {},
  ): Deno.ChildProcess {
    const pinned = pinnedTo(processors.forwarder, program, args);
    return this.host.spawn("taskset", pinned, { stdout: "null", stderr: "null", ...options });
  }

  /** Waits until a forwarder does what it was started for, or ends. */
  async started(
    child: Deno.ChildProcess,
    name: string,
    condition: () => Promise<boolean>,
  ): Promise<void> {
    let code: number | undefined;
    child.status.then((status) => code = status.code);
    await until(() => {
      if (code === undefined) return condition();
      throw new OmertaError("bench-failed", `Cannot start ${name}: it ended with ${code}`);
    }, { what: `${name} to start` });
  }

  /** Ends everything and removes the namespaces. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.#lab[Symbol.asyncDispose]();
  }
}

/** Arguments of `taskset` for a program on one processor. */
export function pinnedTo(processor: number, program: string, args: readonly string[]): string[] {
  return ["--cpu-list", String(processor), program, ...args];
}
