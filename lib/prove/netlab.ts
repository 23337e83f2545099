/**
 * Real Linux networks: namespaces joined by virtual cables, made by iproute2 and removed
 * when the lab is disposed of. See ip-netns(8) and veth(4).
 *
 * ```ts
 * await using lab = await NetLab.create();
 * const lender = await lab.namespace("lender");
 * const borrower = await lab.namespace("borrower");
 * await lab.connect(lender, "192.168.1.100/24", borrower, "192.168.1.101/24");
 * await borrower.runChecked("ping", ["-c", "1", "192.168.1.100"]);
 * ```
 *
 * A namespace carries its owner in its name, `omlab-PID-START-RANDOM-LABEL`, so that what a killed
 * test left behind is found by the next lab and taken away with every process inside.
 * Checksum and segmentation offloads are left on, as they are on real machines.
 *
 * @module
 */

import { EXIT, messageOf, OmertaError } from "../core/errors.ts";
import { startTimeOf } from "../core/process.ts";
import { ip, namesOfDeadOwners, namespacesMissing, removeNamespace } from "./_ip.ts";
import { Namespace } from "./namespace.ts";

export { Namespace } from "./namespace.ts";
export { namespacesMissing } from "./_ip.ts";

/** How two namespaces are joined. */
export interface CableOptions {
  /** Largest packet the cable carries, in bytes. @default {1500} */
  readonly mtu?: number;
}

/** The two ends of a cable. */
export interface Cable {
  /** Interface in the first namespace. */
  readonly a: string;
  /** Interface in the second namespace. */
  readonly b: string;
}

/** A set of namespaces and the cables between them. */
export class NetLab implements AsyncDisposable {
  readonly #owner: string;
  readonly #namespaces: Namespace[] = [];

  private constructor(owner: string) {
    this.#owner = owner;
  }

  /** An empty lab; takes away what labs of processes that are gone have left. */
  static async create(): Promise<NetLab> {
    const why = await namespacesMissing();
    if (why !== undefined) {
      throw new OmertaError("no-namespaces", `Cannot make a network: ${why}`, {
        exit: EXIT.missing,
        next: "Run it as root on Linux, with iproute2",
      });
    }
    await sweepLabs();
    return new NetLab(`omlab-${Deno.pid}-${await startTimeOf(Deno.pid)}`);
  }

  /**
   * A new namespace with nothing but its loopback interface, which is up.
   *
   * @param label What its name ends with: letters, digits and dashes.
   */
  async namespace(label: string): Promise<Namespace> {
    const name = `${this.#owner}-${crypto.randomUUID().slice(0, 8)}-${label}`;
    await ip("netns", "add", name);
    const namespace = new Namespace(name);
    this.#namespaces.push(namespace);
    await ip("-n", name, "link", "set", "lo", "up");
    return namespace;
  }

  /** A new namespace that forwards IPv4 and IPv6 between its interfaces. */
  async router(label: string): Promise<Namespace> {
    const router = await this.namespace(label);
    await router.runChecked("sh", [
      "-c",
      "echo 1 > /proc/sys/net/ipv4/ip_forward; echo 1 > /proc/sys/net/ipv6/conf/all/forwarding",
    ]);
    return router;
  }

  /**
   * Joins two namespaces by a cable and gives each end its address.
   *
   * @param addressA Address and prefix length, e.g. `192.168.1.100/24`; IPv6 works too.
   * @param addressB The same; none for a port of a bridge.
   * @returns The interfaces' names, `eth0`, `eth1`... in the order of the calls.
   */
  async connect(
    a: Namespace,
    addressA: string,
    b: Namespace,
    addressB: string | undefined,
    options: CableOptions = {},
  ): Promise<Cable> {
    const cable = { a: a.nextInterface(), b: b.nextInterface() };
    const mtu = ["mtu", String(options.mtu ?? 1500)];
    const end = ["type", "veth", "peer", "name", cable.b, ...mtu, "netns", b.name];
    await ip("link", "add", "name", cable.a, ...mtu, "netns", a.name, ...end);
    await a.addAddress(cable.a, addressA);
    if (addressB !== undefined) await b.addAddress(cable.b, addressB);
    await a.setLink(cable.a, "up");
    await b.setLink(cable.b, "up");
    return cable;
  }

  /** Ends every process in every namespace and removes the namespaces. */
  async [Symbol.asyncDispose](): Promise<void> {
    const failures: string[] = [];
    for (const namespace of this.#namespaces.splice(0).reverse()) {
      try {
        await namespace.remove();
      } catch (error) {
        failures.push(messageOf(error));
      }
    }
    if (failures.length > 0) throw new Error(`Cannot take the lab down: ${failures.join("; ")}`);
  }
}

/**
 * Ends and removes what labs of processes that are gone have left, where there can be any.
 *
 * @returns In words.
 */
export async function sweepLabs(): Promise<string[]> {
  const failures: string[] = [];
  const names = await namesOfDeadOwners();
  for (const name of names) {
    await removeNamespace(name).catch((error: unknown) => failures.push(messageOf(error)));
  }
  const count = names.length - failures.length;
  if (count === 0) return failures;
  return [`Removed network namespaces that tests of this host have left (${count})`, ...failures];
}
