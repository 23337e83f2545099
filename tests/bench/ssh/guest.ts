/**
 * A real guest, by ssh and scp: its borrower has the TUN device, and beside it the stack.
 *
 * @module
 */

import { join } from "node:path";
import type { Home } from "../../support/home.ts";
import { LENDER, shareLink, twoMachines } from "../../support/two_machines.ts";
import type { Namespace } from "../../netlab/netlab.ts";
import type { Row } from "../bench.ts";
import { ByteEcho } from "./byte_echo.ts";
import { durationRow, inTurns, rateRow, roundTripRows, STACK, TUN, type Way } from "./ways.ts";

/** Time for a translated guest on a busy host, in ms. */
const READY_MS = 200_000;
const COPY_MS = 300_000;
const VM = "bench";
/** In one copy; a translated guest takes some 10 MB in a second. */
const BYTES = 200_000_000;
const COPIES = 2;
/**
 * Turns of each way, and round trips in a turn: more than one, because the acknowledgment of the last
 * one is still under way and costs the guest time, which the other way would be charged with.
 */
const TURNS = 8;
const TURN = 50;
const STARTS = 5;
const WAYS = [TUN, STACK] as const;
/** In the guest's memory. */
const THERE = "/dev/shm/file";

/** Measures. */
export async function guestRows(): Promise<Row[]> {
  await using world = await twoMachines();
  const { lender, borrower, borrowerMachine } = world;
  await lender.shareImages();
  await lender.startDaemon();
  await shareLink(world);
  const request = ["vm", "request", "--provider", LENDER, "--name", VM, "--cpu", "2"];
  const { code, stderr } = await borrower.run(request, { timeoutMs: READY_MS });
  if (code !== 0) throw new Error(`Cannot measure in a guest: ${stderr}`);

  const folder = join(borrower.path, "..");
  const config = join(folder, "ssh_config");
  await Deno.writeTextFile(config, await borrower.ok("ssh-config", VM), { mode: 0o644 });
  // The settings are those of `omerta nc`; what stands before them counts first.
  const options = (way: Way): string[] => [
    ...["-F", config],
    ...(way === TUN ? ["-o", "ProxyCommand=none"] : []),
  ];
  const rows = [
    ...await echoRows(borrowerMachine, options),
    ...await copyRows(borrowerMachine, folder, options),
    ...await commandRows(borrower, borrowerMachine),
  ];
  await borrower.ok("vm", "release", VM);
  return rows;
}

/** Options of ssh and scp for a way. */
type Options = (way: Way) => string[];

/** Keystrokes: a session by each way, and bytes of which the guest sends each back. */
async function echoRows(machine: Namespace, options: Options): Promise<Row[]> {
  const start = (way: Way): ByteEcho =>
    new ByteEcho(
      machine.spawn("ssh", [...options(way), VM, "cat"], { stdin: "piped", stdout: "piped" }),
    );
  await using stack = start(STACK);
  await using tun = start(TUN);
  // The first one waits for the session.
  for (const session of [stack, tun]) await session.roundTrip();
  const times = await inTurns(WAYS, TURNS, async (way) => {
    const turn: number[] = [];
    for (let i = 0; i < TURN; i++) turn.push(await (way === TUN ? tun : stack).roundTrip());
    return turn;
  });
  return roundTripRows("keystroke and its echo", times);
}

/** scp both ways. */
async function copyRows(machine: Namespace, folder: string, options: Options): Promise<Row[]> {
  const here = join(folder, "sent");
  const back = join(folder, "back");
  await machine.runChecked("sh", ["-c", `head -c ${BYTES} /dev/urandom >'${here}'`]);
  const copy = (from: string, to: string) => async (way: Way): Promise<number[]> => {
    const begun = performance.now();
    await machine.runChecked("scp", ["-q", ...options(way), from, to], { timeoutMs: COPY_MS });
    return [(performance.now() - begun) / 1000];
  };
  const up = await inTurns(WAYS, COPIES, copy(here, `${VM}:${THERE}`));
  const down = await inTurns(WAYS, COPIES, copy(`${VM}:${THERE}`, back));
  await machine.runChecked("cmp", [here, back]);
  return [
    rateRow("scp of 200 MB to the guest", BYTES, up),
    rateRow("scp of 200 MB from the guest", BYTES, down),
  ];
}

/** From a command to its end, with the interface, and without: somebody else has its name. */
async function commandRows(borrower: Home, machine: Namespace): Promise<Row[]> {
  const times = async (): Promise<number[]> => {
    const all: number[] = [];
    for (let i = 0; i < STARTS; i++) {
      const begun = performance.now();
      await borrower.ok("ssh", VM, "true");
      all.push((performance.now() - begun) / 1000);
    }
    return all;
  };
  const tun = await times();
  await borrower.ok("daemon", "stop");
  await machine.runChecked("ip", ["link", "add", "omerta0", "type", "veth"]);
  await borrower.ok("daemon", "start", "--no-lend", "--port", "0");
  const stack = await times();
  return [durationRow("omerta ssh NAME true", new Map([[STACK, stack], [TUN, tun]]))];
}
