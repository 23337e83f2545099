/**
 * A program for a test, to be run with few descriptors: adds guests to a data plane until there are no
 * more, then looks whether those that are there are still served and whether one that goes makes room
 * for another. Prints what it found, as JSON.
 *
 * @module
 */

import { join } from "node:path";
import { guestFrame } from "../../tests/doubles/guest_frames.ts";
import { until } from "../../tests/support/until.ts";
import { OmertaError } from "../../lib/core/errors.ts";
import { openCable } from "../os/cable.ts";
import { Endpoint } from "../os/endpoint.ts";
import { openUdp } from "../os/udp.ts";
import { generatePrivateKey, publicKeyOf } from "../wireguard/keys.ts";
import { FIXTURE_MAC } from "./_guest_fixture.ts";
import { Recorder } from "./_handlers.ts";
import { Plane } from "./plane.ts";
import { servePlane } from "./worker.ts";

/** What the program found. */
export interface Found {
  /** Guests that were added before one was refused. */
  readonly added: number;
  /** What that one was refused with. */
  readonly error: { readonly code: string; readonly message: string; readonly next: string };
  /** Whether the first guest's frame came through afterwards. */
  readonly serves: boolean;
  /** Whether another could be added when one had gone. */
  readonly goesOn: boolean;
}

async function main(): Promise<Found> {
  const folder = await Deno.makeTempDir({ prefix: "omerta-few-" });
  await using owned = new AsyncDisposableStack();
  owned.defer(() => Deno.remove(folder, { recursive: true }));
  const plane = owned.use(
    await Plane.start(
      { module: new URL(import.meta.url), port: 0, privateKey: generatePrivateKey() },
      new Recorder(),
    ),
  );
  const uplink = owned.use(openUdp({ port: 0 }));
  const paths = (id: number): { cablePath: string; guestPath: string } => ({
    cablePath: join(folder, `${id}`),
    guestPath: join(folder, `${id}.guest`),
  });
  const first = owned.use(
    openCable({ localPath: paths(0).guestPath, peerPath: paths(0).cablePath }),
  );
  const to = Endpoint.of("127.0.0.1", uplink.port);
  if (to === undefined) throw new TypeError("Cannot make an endpoint");
  const add = async (id: number): Promise<OmertaError | undefined> => {
    const publicKey = publicKeyOf(generatePrivateKey());
    try {
      await plane.addGuest({ id: `${id}`, ...paths(id), mac: FIXTURE_MAC, publicKey, uplink: to });
      return undefined;
    } catch (error) {
      if (error instanceof OmertaError) return error;
      throw error;
    }
  };
  let added = 0;
  let error: OmertaError | undefined;
  while ((error = await add(added)) === undefined) added++;
  const frame = guestFrame();
  first.out.buffer.set(frame, first.out.reserve(frame.length));
  first.out.commit(frame.length);
  first.out.flush();
  let messages = 0;
  await until(() => {
    uplink.drain({ receive: () => messages++ }, 8);
    return messages;
  }, { what: "the frame of the first guest" });
  await plane.removeGuest("1");
  const goesOn = await add(added) === undefined;
  const { code, message, next = "" } = error;
  return { added, error: { code, message, next }, serves: messages === 1, goesOn };
}

if ("WorkerGlobalScope" in globalThis) servePlane();
else if (import.meta.main) {
  await Deno.stdout.write(new TextEncoder().encode(JSON.stringify(await main())));
}
