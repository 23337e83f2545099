/**
 * The world that a proof plays in, made of network namespaces and never of the machine's own network.
 *
 * ```
 *   neighbour .50 --+
 *                   +-- 192.168.1.0/24 -- .1 router -- 198.51.100.0/24 -- .7 borrower
 *   lender   .100 --+                        |
 *     also 192.168.100.1, 127.0.0.1          +-- 203.0.113.10: a host on the internet
 * ```
 *
 * The gateway's address, which exists for a guest only, is here an address of the lender's host too:
 * whatever got past the filter would be answered. Every host answers DNS's and HTTP's port with its
 * name, and every frame on every interface is looked at. The lender's network carries frames of up to
 * 9216 bytes, so that too long ones would be seen as well.
 *
 * @module
 */

import { type FramePlace, PacketTap } from "../../net/os/packet_tap_linux.ts";
import { allLinks } from "../../net/os/route_linux.ts";
import { TAP_PREFIX } from "../node/kernel_guests.ts";
import { insideNamespace } from "../../net/os/namespace_linux.ts";
import { guestLink } from "../../net/filter/guest_link.ts";
import { parseMac } from "../../net/wire/ethernet.ts";
import { OmertaError } from "../core/errors.ts";
import { marksIn } from "./mark.ts";
import { type Namespace, NetLab } from "./netlab.ts";
import { GATEWAY, type Scene } from "./scene.ts";

/** Addresses of the world. */
export const ADDRESS = {
  /** The lender, on its network. */
  lender: "192.168.1.100",
  /** The lender, at the address that a guest knows as its gateway. */
  gateway: GATEWAY,
  /** Another host on the lender's network. */
  neighbour: "192.168.1.50",
  /** The router of that network. */
  router: "192.168.1.1",
  /** A host beyond the router. */
  internet: "203.0.113.10",
  /** The borrower. */
  borrower: "198.51.100.7",
  /** The lender, by IPv6. */
  lender6: "fd00:1::100",
} as const;

/** Names of the four machines. */
export const MACHINES = ["lender", "neighbour", "router", "borrower"] as const;
/** One of {@link MACHINES}. */
export type Machine = (typeof MACHINES)[number];

/** Port of the UDP service. */
export const UDP_PORT = 53;
/** Ports of the TCP service. */
export const TCP_PORTS = [53, 80] as const;
/** A TCP port on which nobody listens. */
export const CLOSED_PORT = 81;
/** Card of the lender on its network. */
export const LENDER_CARD = "eth0";
/** Longest frame of the lender's network, without its Ethernet header, in bytes. */
const LAN_MTU = 9216;
/** How often the frames that were seen are looked at, in ms. */
const LOOK_MS = 20;

/** Another guest where there is none: addresses that nobody has. */
const NOBODY: Scene["other"] = { mac: 0x0200000000fe, tunnel: "10.0.255.254" };

/** Where frames with a certain nonce were seen: machines by number of the attempt. */
export type Sightings = Map<number, Map<number, Set<Machine>>>;

/** Takes note of frames with one nonce. */
export interface Watch {
  /** What they carry. */
  readonly nonce: Uint8Array;
  /** Attempt, frame, machines. */
  readonly seen: Sightings;
}

/** Namespaces, services and taps. */
export class World implements AsyncDisposable {
  readonly #owned = new AsyncDisposableStack();
  readonly #machines: Readonly<Record<Machine, Namespace>>;
  readonly #taps = new Map<Machine, PacketTap>();
  /** The lender's interfaces by number: whether it is a guest's. */
  readonly #cables = new Map<number, boolean>();
  readonly #watches: Watch[] = [];
  readonly #host6: readonly string[];
  readonly #cards: readonly number[];
  readonly #listeners = new Set<(machine: Machine, frame: Uint8Array) => void>();

  private constructor(
    machines: Readonly<Record<Machine, Namespace>>,
    host6: readonly string[],
    cards: readonly number[],
  ) {
    this.#machines = machines;
    this.#host6 = host6;
    this.#cards = cards;
  }

  /**
   * Makes the world.
   *
   * @throws {OmertaError} `no-namespaces`, and whatever of it cannot be made.
   */
  static async create(): Promise<World> {
    await using undo = new AsyncDisposableStack();
    const lab = undo.use(await NetLab.create());
    const router = await lab.router("router");
    const lender = await lab.namespace("lender");
    const neighbour = await lab.namespace("neighbour");
    const borrower = await lab.namespace("borrower");
    await router.ip("link", "add", "lan", "mtu", String(LAN_MTU), "type", "bridge");
    // Multicast goes to every port, asked for or not: everything is to be seen.
    await router.ip("link", "set", "lan", "type", "bridge", "mcast_snooping", "0");
    await router.addAddress("lan", `${ADDRESS.router}/24`);
    await router.addAddress("lan", "fd00:1::1/64");
    await router.setLink("lan", "up");
    await plugIn(lab, router, lender, ADDRESS.lender, ADDRESS.lender6);
    await plugIn(lab, router, neighbour, ADDRESS.neighbour, "fd00:1::50");
    await lab.connect(borrower, `${ADDRESS.borrower}/24`, router, "198.51.100.1/24");
    await borrower.route("add", "default", "via", "198.51.100.1");
    await router.addAddress("lo", `${ADDRESS.internet}/32`);
    await lender.addAddress("lo", `${ADDRESS.gateway}/32`);

    const cards = [
      await macOf(lender, LENDER_CARD),
      await macOf(neighbour, "eth0"),
      await macOf(router, "lan"),
    ];
    const world = new World(
      { lender, neighbour, router, borrower },
      await addresses6(lender),
      cards,
    );
    world.#owned.use(undo.move());
    try {
      world.#serve();
      world.#look();
    } catch (error) {
      await world.#owned.disposeAsync();
      throw error;
    }
    return world;
  }

  /** One of the machines. */
  machine(name: Machine): Namespace {
    return this.#machines[name];
  }

  /** Path of a machine's namespace. */
  pathOf(name: Machine): string {
    return `/run/netns/${this.#machines[name].name}`;
  }

  /** What sees and sends frames on a machine. */
  tap(name: Machine): PacketTap {
    const tap = this.#taps.get(name);
    if (tap !== undefined) return tap;
    throw new OmertaError("tap-failed", `Cannot look at the frames of ${name}: it is closed`);
  }

  /** Begins to take note of frames with this nonce. */
  watch(nonce: Uint8Array): Watch {
    const watch = { nonce, seen: new Map() };
    this.#watches.push(watch);
    return watch;
  }

  /** Shows every frame on a machine to `look`, until the function that is returned is called. */
  listen(name: Machine, look: (frame: Uint8Array) => void): () => void {
    const listener = (machine: Machine, frame: Uint8Array): void => {
      if (machine === name) look(frame);
    };
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  /** Frames that were lost before anybody looked at them; none, or nothing is proven. */
  get lost(): number {
    return Array.from(this.#taps.values(), (tap) => tap.lost).reduce((a, b) => a + b, 0);
  }

  /** MAC address of a machine's card. */
  macOf(name: Machine, card: string): Promise<number> {
    return macOf(this.#machines[name], card);
  }

  /** The targets, as a guest with this MAC address sees them. */
  scene(
    o: Pick<Scene, "lenderPort"> & Partial<Pick<Scene, "other">> & {
      /** MAC address, 48 bits. */
      readonly mac: number;
      /** UDP port of the borrower. */
      readonly borrowerPort: number;
    },
  ): Scene {
    return {
      link: guestLink({ guestMac: o.mac }),
      host: { uplink: ADDRESS.lender, gateway: ADDRESS.gateway, loopback: "127.0.0.1" },
      host6: this.#host6,
      cards: this.#cards,
      lenderPort: o.lenderPort,
      neighbour: ADDRESS.neighbour,
      router: ADDRESS.router,
      broadcast: "192.168.1.255",
      internet: ADDRESS.internet,
      borrower: { address: ADDRESS.borrower, port: o.borrowerPort },
      other: o.other ?? NOBODY,
    };
  }

  /**
   * Whether a frame is what a guest in mode `ebpf` has sent, at the lender's end of its own cable: it is
   * seen there before the filter, which stands behind it, has judged it.
   */
  #isOfCable({ ifindex, isOutgoing }: FramePlace): boolean {
    if (isOutgoing) return false;
    const known = this.#cables.get(ifindex);
    if (known !== undefined) return known;
    const links = insideNamespace(this.pathOf("lender"), allLinks);
    const name = links.find((link) => link.ifindex === ifindex)?.name;
    if (name === undefined) return false;
    const isCable = name.startsWith(TAP_PREFIX);
    this.#cables.set(ifindex, isCable);
    return isCable;
  }

  /** Looks now, rather than at the next turn. */
  look(): void {
    for (const [machine, tap] of this.#taps) {
      tap.drain((frame, place) => {
        if (machine === "lender" && this.#isOfCable(place)) return;
        for (const listener of this.#listeners) listener(machine, frame);
        for (const { nonce, seen } of this.#watches) {
          for (const mark of marksIn(nonce, frame)) {
            const row = seen.get(mark.row) ?? new Map<number, Set<Machine>>();
            seen.set(mark.row, row);
            row.set(mark.frame, (row.get(mark.frame) ?? new Set()).add(machine));
          }
        }
      });
    }
  }

  #look(): void {
    for (const name of MACHINES) {
      this.#taps.set(name, this.#owned.use(new PacketTap(this.pathOf(name))));
    }
    const timer = setInterval(() => this.look(), LOOK_MS);
    this.#owned.defer(() => clearInterval(timer));
  }

  #serve(): void {
    const at = (name: Machine, address: string): void => {
      for (const port of TCP_PORTS) this.#serveTcp(name, address, port);
      this.#serveUdp(name, address);
    };
    at("lender", ADDRESS.lender);
    at("lender", ADDRESS.gateway);
    at("lender", "127.0.0.1");
    at("neighbour", ADDRESS.neighbour);
    at("router", ADDRESS.router);
    at("router", ADDRESS.internet);
    at("borrower", ADDRESS.borrower);
    this.#serveUdp("lender", ADDRESS.lender6);
  }

  /** Says the address that was reached, and nothing else. */
  #serveTcp(name: Machine, hostname: string, port: number): void {
    const listener = insideNamespace(this.pathOf(name), () => Deno.listen({ hostname, port }));
    this.#owned.defer(() => listener.close());
    void (async () => {
      for await (const connection of listener) {
        await connection.write(new TextEncoder().encode(hostname)).catch(() => {});
        connection.close();
      }
    })();
  }

  /** Gives the question back, and the address that was reached behind it. */
  #serveUdp(name: Machine, hostname: string): void {
    const socket = insideNamespace(
      this.pathOf(name),
      () => Deno.listenDatagram({ transport: "udp", hostname, port: UDP_PORT }),
    );
    this.#owned.defer(() => socket.close());
    const word = new TextEncoder().encode(hostname);
    void (async () => {
      for await (const [question, from] of socket) {
        const answer = new Uint8Array(question.length + word.length);
        answer.set(question);
        answer.set(word, question.length);
        await socket.send(answer, from).catch(() => {});
      }
    })();
  }

  /** Closes services and taps, ends what runs in the namespaces, removes them. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.#owned.disposeAsync();
  }
}

/** Joins a machine to the lender's network. */
async function plugIn(
  lab: NetLab,
  router: Namespace,
  machine: Namespace,
  address: string,
  address6: string,
): Promise<void> {
  const cable = await lab.connect(machine, `${address}/24`, router, undefined, { mtu: LAN_MTU });
  await router.ip("link", "set", cable.b, "master", "lan");
  await machine.addAddress(cable.a, `${address6}/64`);
  await machine.route("add", "default", "via", ADDRESS.router);
}

async function macOf(machine: Namespace, card: string): Promise<number> {
  const text = await machine.ip("-j", "link", "show", card);
  const mac = parseMac(/"address":"([0-9a-f:]{17})"/.exec(text)?.[1] ?? "");
  if (mac !== undefined) return mac;
  throw new OmertaError("no-mac", `Cannot find the MAC address of ${card} of ${machine.name}`);
}

/** Every IPv6 address of a machine. */
async function addresses6(machine: Namespace): Promise<string[]> {
  const text = await machine.ip("-j", "-6", "address", "show");
  return Array.from(text.matchAll(/"local":"([0-9a-f:]+)"/g), ([, address]) => address ?? "");
}
