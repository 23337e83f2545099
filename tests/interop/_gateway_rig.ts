/**
 * Namespaces for tests of the gateway: a guest whose only way out it is, the host that it runs in, and
 * what lies outside.
 *
 * @module
 */

import { libc } from "../../net/os/libc.ts";
import { type Namespace, NetLab, netlabMissing } from "../netlab/netlab.ts";
import { commandMissing, rootMissing } from "../support/requires.ts";
import { linesOf } from "./_lines.ts";
import type { GatewayConfig, GatewayReady } from "./gateway.ts";

/** Why there can be none here; undefined: there can. */
export const gatewayMissing: string | undefined = rootMissing ?? netlabMissing ??
  (libc() === undefined ? "needs FFI on Linux" : undefined) ?? commandMissing("ip", "ping", "ss");

/** The TUN device of the guest. */
export const DEVICE = "omt0";
/** The guest's address. */
export const GUEST = "10.0.2.100";
/** The gateway's address inside. */
export const GATEWAY = "10.0.2.2";
/** The host's address outside. */
export const HOST = "192.168.78.1";
/** A machine outside. */
export const NET = "192.168.78.2";
/** The host's address on another network, and a machine on that. */
export const OTHER_HOST = "192.168.79.1";
export const OTHER = "192.168.79.2";

const PROGRAM = new URL("./gateway.ts", import.meta.url).pathname;

/** How a {@link GatewayRig} is made. */
export interface GatewayRigOptions {
  /** Largest packet inside, in bytes. @default {1400} */
  readonly mtu?: number;
  /** How long a mapping of UDP may be idle, in ms. */
  readonly idleMs?: number;
  /** Whether everybody in the host may send pings. @default {false} */
  readonly ping?: boolean;
}

/** A guest, a gateway, and a world. */
export class GatewayRig implements AsyncDisposable {
  /** Whose default route is the gateway. */
  readonly guest: Namespace;
  /** Where the gateway runs. */
  readonly host: Namespace;
  /** What has {@link NET}. */
  readonly net: Namespace;
  /** What has {@link OTHER}. */
  readonly other: Namespace;
  /** What the gateway has said. */
  readonly ready: GatewayReady;
  readonly #owned: AsyncDisposableStack;

  private constructor(
    [guest, host, net, other]: readonly [Namespace, Namespace, Namespace, Namespace],
    ready: GatewayReady,
    owned: AsyncDisposableStack,
  ) {
    this.guest = guest;
    this.host = host;
    this.net = net;
    this.other = other;
    this.ready = ready;
    this.#owned = owned;
  }

  /** Makes the namespaces and starts the gateway. */
  static async start({ mtu = 1400, idleMs, ping }: GatewayRigOptions = {}): Promise<GatewayRig> {
    await using owned = new AsyncDisposableStack();
    const lab = owned.use(await NetLab.create());
    const guest = await lab.namespace("guest");
    const host = await lab.namespace("host");
    const net = await lab.namespace("net");
    const other = await lab.namespace("other");
    await lab.connect(host, `${HOST}/24`, net, `${NET}/24`);
    await lab.connect(host, `${OTHER_HOST}/24`, other, `${OTHER}/24`);
    // What a new namespace has: nobody may.
    const range = ping === true ? "0 2147483647" : "1 0";
    const set = `echo ${range} >/proc/sys/net/ipv4/ping_group_range`;
    await host.runChecked("sh", ["-c", set]);
    const config: GatewayConfig = {
      namespace: `/run/netns/${guest.name}`,
      tun: DEVICE,
      kernel: `${GUEST}/24`,
      address: GATEWAY,
      mtu,
      ...(idleMs === undefined ? {} : { idleMs }),
    };
    const args = ["run", "--allow-all", PROGRAM, JSON.stringify(config)];
    const { stdout } = host.spawn(Deno.execPath(), args, { stdout: "piped" });
    const { value } = await linesOf(stdout).next();
    const ready: GatewayReady = JSON.parse(value ?? "null");
    await guest.route("add", "default", "dev", DEVICE);
    return new GatewayRig([guest, host, net, other], ready, owned.move());
  }

  /** Ends everything. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.#owned[Symbol.asyncDispose]();
  }
}
