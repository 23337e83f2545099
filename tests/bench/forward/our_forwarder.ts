/**
 * A program for benchmarks, to be run inside a network namespace: one data plane with guests, which
 * prints `ready` and ends when its standard input does. It is to Omerta what `passt` and `slirp4netns`
 * are by themselves: what carries a guest's frames.
 *
 * ```
 * our_forwarder.ts '{"port": 51820, "guests": [{"cable": PATH, "guest": PATH, "uplink": [ADDRESS, PORT]}]}'
 * ```
 *
 * @module
 */

import { Endpoint } from "../../../net/os/endpoint.ts";
import { Plane } from "../../../net/plane/plane.ts";
import { servePlane } from "../../../net/plane/worker.ts";
import { generatePrivateKey, publicKeyOf } from "../../../net/wireguard/keys.ts";

/** What the program is given. */
export interface ForwarderConfig {
  /** UDP port. */
  readonly port: number;
  /** Guests, in the order in which they are added. */
  readonly guests: readonly {
    /** Path of the cable's end that this program binds. */
    readonly cable: string;
    /** Path of the guest's end. */
    readonly guest: string;
    /** Where the guest's tunnel goes. */
    readonly uplink: readonly [string, number];
  }[];
}

/** Starts the plane and serves the guests until standard input ends. */
async function main(config: ForwarderConfig): Promise<void> {
  await using plane = await Plane.start({
    module: new URL(import.meta.url),
    port: config.port,
    privateKey: generatePrivateKey(),
  }, {
    onControl: () => {},
    onPeer: () => {},
    onGuest: () => {},
    onFailed: (error) => {
      throw error;
    },
  });
  const say = (word: string): Promise<number> =>
    Deno.stdout.write(new TextEncoder().encode(`${word}\n`));
  let next = 0;
  const add = async (): Promise<void> => {
    const guest = config.guests[next++];
    const uplink = guest && Endpoint.of(...guest.uplink);
    if (guest === undefined || uplink === undefined) throw new RangeError("No such guest");
    await plane.addGuest({
      id: guest.cable,
      cablePath: guest.cable,
      guestPath: guest.guest,
      mac: "52:54:00:00:64:02",
      publicKey: publicKeyOf(generatePrivateKey()),
      uplink,
    });
  };
  await say("ready");
  // Each byte adds one guest.
  const input = new Uint8Array(256);
  for (let got; (got = await Deno.stdin.read(input)) !== null;) {
    for (let i = 0; i < got; i++) {
      await add();
      await say("added");
    }
  }
}

if ("WorkerGlobalScope" in globalThis) servePlane();
else if (import.meta.main) await main(JSON.parse(Deno.args[0] ?? "{}"));
