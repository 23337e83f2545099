/**
 * Positive controls: the targets of a proof answer to those who may reach them, and frames that are
 * where they should not be are seen.
 *
 * @module
 */

import { randomBytes } from "node:crypto";
import { knockTcp } from "../../net/os/tcp_knock_linux.ts";
import { insideNamespace } from "../../net/os/namespace_linux.ts";
import { ICMP, ICMP_TYPE } from "../../net/wire/icmp.ts";
import type { Attempt, Place } from "./attempt.ts";
import { INNER, pingFrame } from "./frames.ts";
import { MARK_LEN, markOf, marksIn, NONCE_LEN } from "./mark.ts";
import { ipv4, type Scene } from "./scene.ts";
import {
  ADDRESS,
  CLOSED_PORT,
  LENDER_CARD,
  type Machine,
  TCP_PORTS,
  UDP_PORT,
  type World,
} from "./world.ts";

/** How long an answer or a frame may take in a world of one machine, in ms. */
const WAIT_MS = 2000;
const POLL_MS = 10;

/** What the controls found: a word for each that did not hold. */
export interface Controls {
  /** Of each place, what did not answer. */
  readonly places: ReadonlyMap<Place, readonly string[]>;
  /** Of each attempt, by number, how many of its frames were not seen when they were outside. */
  readonly unseen: ReadonlyMap<number, number>;
}

/** Who asks whom, and where. */
const QUESTIONS: readonly (readonly [Place, Machine, string])[] = [
  ["internet", "lender", ADDRESS.internet],
  ["router", "lender", ADDRESS.router],
  ["neighbour", "lender", ADDRESS.neighbour],
  ["host", "neighbour", ADDRESS.lender],
  ["host", "lender", ADDRESS.gateway],
  ["host", "lender", "127.0.0.1"],
  ["borrower", "router", ADDRESS.borrower],
];

/** Who pings whom, and by which card of which machine the way goes. */
const PINGS: readonly (readonly [Place, Machine, string, Machine, string])[] = [
  ["neighbour", "lender", ADDRESS.neighbour, "neighbour", "eth0"],
  ["host", "neighbour", ADDRESS.lender, "lender", "eth0"],
  ["router", "lender", ADDRESS.router, "router", "lan"],
  ["internet", "lender", ADDRESS.internet, "router", "lan"],
];

/** Runs all of them; nothing of the guest's may run meanwhile. */
export async function runControls(
  world: World,
  scene: Scene,
  attempts: readonly Attempt[],
): Promise<Controls> {
  const places = new Map<Place, string[]>();
  const fault = (place: Place, words: string): void => {
    places.set(place, [...places.get(place) ?? [], words]);
  };
  await Promise.all([
    ...QUESTIONS.flatMap(([place, asker, address]) => [
      answersUdp(world, asker, address).then((holds) => {
        if (!holds) fault(place, `${address} does not answer UDP`);
      }),
      ...TCP_PORTS.map(async (port) => {
        const word = await knock(world, asker, address, port);
        if (word !== address) fault(place, `${address} does not answer TCP port ${port}`);
      }),
      knock(world, asker, address, CLOSED_PORT).then((word) => {
        if (word === "refused") return;
        fault(place, `${address} does not say that TCP port ${CLOSED_PORT} is closed`);
      }),
    ]),
    answersUdp(world, "neighbour", ADDRESS.lender6).then((holds) => {
      if (!holds) fault("host", `${ADDRESS.lender6} does not answer UDP`);
    }),
    ...PINGS.map(async ([place, asker, target, machine, card]) => {
      const holds = await answersPing(world, asker, target, await world.macOf(machine, card));
      if (!holds) fault(place, `${target} answers no ping`);
    }),
  ]);
  const unseen = await sendOutside(world, scene, attempts);
  // Some of these frames say that addresses have moved: what was believed is forgotten.
  for (const name of ["lender", "neighbour", "router"] as const) {
    await world.machine(name).ip("neigh", "flush", "all");
  }
  return { places, unseen };
}

async function knock(
  world: World,
  asker: Machine,
  address: string,
  port: number,
): Promise<string | undefined> {
  const path = world.pathOf(asker);
  const word = await knockTcp({ path, address: ipv4(address), port, timeoutMs: WAIT_MS });
  return word instanceof Uint8Array ? new TextDecoder().decode(word) : word;
}

/** Whether `hostname` gives a fresh question back, with its own address behind it. */
async function answersUdp(world: World, asker: Machine, hostname: string): Promise<boolean> {
  const any = hostname.includes(":") ? "::" : "0.0.0.0";
  const socket = insideNamespace(
    world.pathOf(asker),
    () => Deno.listenDatagram({ transport: "udp", hostname: any, port: 0 }),
  );
  const late = setTimeout(() => socket.close(), WAIT_MS);
  try {
    const question = new Uint8Array(randomBytes(MARK_LEN));
    await socket.send(question, { transport: "udp", hostname, port: UDP_PORT });
    const [answer] = await socket.receive();
    const word = new TextDecoder().decode(answer.subarray(MARK_LEN));
    return word === hostname && answer.subarray(0, MARK_LEN).toHex() === question.toHex();
  } catch {
    return false; // closed meanwhile, or the network said no
  } finally {
    clearTimeout(late);
    try {
      socket.close();
    } catch {
      // It was closed when the time was over.
    }
  }
}

/** Whether a ping that is put on the asker's card comes back to it. */
async function answersPing(
  world: World,
  asker: Machine,
  target: string,
  mac: number,
): Promise<boolean> {
  const link = {
    guestMac: await world.macOf(asker, "eth0"),
    guestAddress: ipv4(asker === "lender" ? ADDRESS.lender : ADDRESS.neighbour),
    gatewayMac: mac,
    gatewayAddress: ipv4(target),
    gatewayPort: 0,
  };
  const nonce = new Uint8Array(randomBytes(NONCE_LEN));
  const frame = pingFrame(link, markOf(nonce, { row: 0, frame: 0 }));
  let answered = false;
  const stop = world.listen(asker, (seen) => {
    answered ||= marksIn(nonce, seen).length > 0 && seen[INNER + ICMP_TYPE] === ICMP.echoReply;
  });
  try {
    world.tap(asker).send("eth0", [frame]);
    await waitFor(world, () => answered);
    return answered;
  } finally {
    stop();
  }
}

/** Puts every frame of the attempts on the lender's network; how many of each were not seen there. */
async function sendOutside(
  world: World,
  scene: Scene,
  attempts: readonly Attempt[],
): Promise<Map<number, number>> {
  const nonce = new Uint8Array(randomBytes(NONCE_LEN));
  const watch = world.watch(nonce);
  const frames = attempts.map((attempt, row) =>
    attempt.frames(scene, (frame) => markOf(nonce, { row, frame }))
  );
  // One attempt at a time: what waits to be looked at is bounded.
  for (const some of frames) {
    world.tap("lender").send(LENDER_CARD, some);
    world.look();
  }
  const missing = (): [number, number][] =>
    frames.map((some, row) => [
      row,
      some.filter((_, frame) => {
        const at = watch.seen.get(row)?.get(frame);
        return at === undefined || [...at].every((machine) => machine === "lender");
      }).length,
    ]);
  await waitFor(world, () => missing().every(([, count]) => count === 0));
  return new Map(missing());
}

/** Waits for a condition, within the time of a control. */
async function waitFor(world: World, condition: () => boolean): Promise<void> {
  const deadline = performance.now() + WAIT_MS;
  while (!condition() && performance.now() < deadline) {
    await new Promise((resolve) => setTimeout(resolve, POLL_MS));
    world.look();
  }
}
