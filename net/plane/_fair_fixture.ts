/**
 * Programs for the test of fair shares, each to be run in a network namespace of its own:
 *
 * ```
 * _fair_fixture.ts borrower PORT
 * _fair_fixture.ts lender '{"guests": [{"borrower": ["10.0.0.2", 5000], "length": 64, "everyMs": 0}]}'
 * ```
 *
 * `borrower` counts what comes, by guest. `lender` is one data plane and the guests on its cables: a
 * guest sends one message of `length` bytes every `everyMs`, or as fast as it can. Both print `ready`,
 * answer each line on standard input by a line of JSON, and end when it does.
 *
 * @module
 */

import { join } from "node:path";
import { guestFrame, wireguardMessage } from "../../tests/doubles/guest_frames.ts";
import { openCable } from "../os/cable.ts";
import { Endpoint } from "../os/endpoint.ts";
import type { PacketSocket } from "../os/packet_socket.ts";
import { openUdp } from "../os/udp.ts";
import { generatePrivateKey, publicKeyOf } from "../wireguard/keys.ts";
import { FIXTURE_MAC } from "./_guest_fixture.ts";
import { Plane } from "./plane.ts";
import { servePlane } from "./worker.ts";

/** Where in a message the number of its guest stands. */
const TAG = 16;
/** Tag of a control message. */
const CONTROL = 255;
/** Frames that a guest which sends as fast as it can hands over at once. */
const CHUNK = 32;

/** What one guest does. */
export interface FairGuest {
  /** Where its tunnel goes. */
  readonly borrower: readonly [string, number];
  /** Length of its messages (bytes). */
  readonly length: number;
  /** Pause between two of them (ms); 0 for none. */
  readonly everyMs: number;
}

/** What the borrower's program answers: arrays by guest. */
export interface Arrived {
  /** Messages that came. */
  readonly messages: readonly number[];
  /** Their bytes. */
  readonly bytes: readonly number[];
  /** Control messages that came. */
  readonly control: number;
}

/** What the lender's program answers. */
export interface Sent {
  /** Frames that each guest's cable took. */
  readonly frames: readonly number[];
  /** Control messages that were sent. */
  readonly control: number;
  /** Datagrams that the kernel refused. */
  readonly refused: number;
}

async function say(line: string): Promise<void> {
  await Deno.stdout.write(new TextEncoder().encode(`${line}\n`));
}

/** Answers lines until there are no more, then aborts. */
async function answerLines(answer: () => unknown, end: AbortController): Promise<void> {
  const line = new Uint8Array(64);
  while (await Deno.stdin.read(line) !== null) await say(JSON.stringify(await answer()));
  end.abort();
}

async function borrower(port: number): Promise<void> {
  using socket = openUdp({ port });
  const messages = new Array<number>(256).fill(0);
  const bytes = new Array<number>(256).fill(0);
  const count = {
    receive(buffer: Uint8Array, at: number, length: number): void {
      const tag = buffer[at + TAG] ?? 0;
      messages[tag] = (messages[tag] ?? 0) + 1;
      bytes[tag] = (bytes[tag] ?? 0) + length;
    },
  };
  await say("ready");
  const end = new AbortController();
  const answered = answerLines(
    () => ({
      messages: messages.slice(0, 8),
      bytes: bytes.slice(0, 8),
      control: messages[CONTROL],
    }),
    end,
  );
  while (!end.signal.aborted) {
    socket.drain(count, 4096);
    await new Promise<void>((resolve) => setImmediate(resolve));
  }
  await answered;
}

async function lender(guests: readonly FairGuest[]): Promise<void> {
  const folder = await Deno.makeTempDir({ prefix: "omerta-fair-" });
  await using owned = new AsyncDisposableStack();
  owned.defer(() => Deno.remove(folder, { recursive: true }));
  const plane = owned.use(
    await Plane.start(
      { module: new URL(import.meta.url), port: 0, privateKey: generatePrivateKey() },
      {
        onControl: () => {},
        onPeer: () => {},
        onGuest: () => {},
        onFailed: (error) => {
          throw error;
        },
      },
    ),
  );
  const senders: { cable: PacketSocket; frame: Uint8Array; everyMs: number; due: number }[] = [];
  for (const [i, { borrower, length, everyMs }] of guests.entries()) {
    const paths = { cablePath: join(folder, `${i}`), guestPath: join(folder, `${i}.guest`) };
    const uplink = endpointOf(borrower);
    const cable = owned.use(openCable({ localPath: paths.guestPath, peerPath: paths.cablePath }));
    const publicKey = publicKeyOf(generatePrivateKey());
    await plane.addGuest({ id: `${i}`, ...paths, mac: FIXTURE_MAC, publicKey, uplink });
    const message = wireguardMessage(length);
    message[TAG] = i;
    senders.push({ cable, frame: guestFrame({ payload: message }), everyMs, due: 0 });
  }
  const first = guests[0];
  const control = new Uint8Array(100).fill(CONTROL);
  control[0] = 0;
  let controlSent = 0;
  let controlDue = 0;
  await say("ready");
  const end = new AbortController();
  const answered = answerLines(
    async (): Promise<Sent> => ({
      frames: senders.map(({ cable }) => cable.counters.sent),
      control: controlSent,
      refused: (await plane.stats()).udp.refused,
    }),
    end,
  );
  while (!end.signal.aborted) {
    const now = performance.now();
    for (const sender of senders) {
      if (now < sender.due) continue;
      sender.due = now + sender.everyMs;
      put(sender.cable, sender.frame, sender.everyMs === 0 ? CHUNK : 1);
    }
    if (first !== undefined && now >= controlDue) {
      controlDue = now + 20;
      plane.send(control, endpointOf(first.borrower));
      controlSent++;
    }
    await new Promise<void>((resolve) => setImmediate(resolve));
  }
  await answered;
}

function put(cable: PacketSocket, frame: Uint8Array, count: number): void {
  for (let i = 0; i < count; i++) {
    const at = cable.out.reserve(frame.length);
    if (at < 0) break;
    cable.out.buffer.set(frame, at);
    cable.out.commit(frame.length);
  }
  cable.out.flush();
}

function endpointOf([address, port]: readonly [string, number]): Endpoint {
  const endpoint = Endpoint.of(address, port);
  if (endpoint === undefined) throw new TypeError(`Cannot use ${address} port ${port}`);
  return endpoint;
}

if ("WorkerGlobalScope" in globalThis) servePlane();
else if (import.meta.main) {
  const [role, argument = ""] = Deno.args;
  if (role === "borrower") await borrower(Number(argument));
  else await lender(JSON.parse(argument).guests);
}
