/**
 * Connections without ssh, to a VM that is a namespace: no guest that is translated stands in the way,
 * and what is left is the cost of the way.
 *
 * @module
 */

import { namespaceWorld } from "../../support/namespace_vm.ts";
import { until } from "../../support/until.ts";
import type { Row } from "../bench.ts";
import {
  COPIED,
  durationRow,
  inTurns,
  rateRow,
  roundTripRows,
  STACK,
  TUN,
  type Way,
} from "./ways.ts";

const PORT = "5001";
const ROUNDS = 3;
const BYTES = 200_000_000;
const ROUND_TRIPS = 300;
const PROGRAM = new URL("one_connection.py", import.meta.url).pathname;

/** Measures. */
export async function connectionRows(): Promise<Row[]> {
  await using world = await namespaceWorld({ root: true });
  const { borrower, machine: borrowerMachine, vm } = world;
  const { address } = vm.lease;
  const server = vm.machine.spawn("python3", [PROGRAM, "serve", address, PORT]);
  await using owned = new AsyncDisposableStack();
  owned.defer(async () => {
    server.kill("SIGTERM");
    await server.status;
  });
  await until(
    async () => (await vm.machine.run("ss", ["-ltnH", "sport", "=", PORT])).stdout !== "",
    { what: "the server to listen" },
  );
  await borrower.ok("daemon", "start", "--no-lend", "--port", "0");
  const programs: Readonly<Record<Way, readonly string[]>> = {
    [TUN]: [],
    [STACK]: borrower.commandLine("nc", "--hand-over", "web", PORT),
    [COPIED]: borrower.commandLine("nc", "web", PORT),
  };
  const ways = [TUN, STACK, COPIED] as const;
  const greetings = new Map<Way, number[]>(ways.map((way) => [way, []]));
  const measure = (kind: string, count: number) => async (way: Way): Promise<number[]> => {
    const args = [PROGRAM, kind, `${count}`, address, PORT, ...programs[way]];
    const { stdout } = await borrowerMachine.runChecked("python3", args, { timeoutMs: 60_000 });
    const [greeting = NaN, ...times] = stdout.trim().split(" ").map(Number);
    greetings.get(way)?.push(greeting);
    return times;
  };
  const up = await inTurns(ways, ROUNDS, measure("up", BYTES));
  const down = await inTurns(ways, ROUNDS, measure("down", BYTES));
  const echo = await inTurns(ways, ROUNDS, measure("echo", ROUND_TRIPS));
  await borrower.ok("daemon", "stop");
  return [
    durationRow("connected, without ssh", greetings),
    ...roundTripRows("round trip without ssh", echo),
    rateRow("200 MB to the VM, without ssh", BYTES, up),
    rateRow("200 MB from the VM, without ssh", BYTES, down),
  ];
}
