/**
 * B6: the kernel filter, next to the filter of the packet thread in the same run.
 *
 * - "judge": the programs alone, as the kernel times them over many runs on one packet
 *   (BPF_PROG_TEST_RUN): rules, new headers, checksums, counters; no interfaces.
 * - "path": a process writes frames into a TAP, or reads them, one for each system call as QEMU
 *   does, and another has the UDP socket at the other end of a veth pair. The number is what arrives,
 *   so both ends' system calls are in it. The packet thread is driven by the generator of the filter
 *   bench, which hands over many frames at once, as no hypervisor does: it is faster by that.
 *
 * @module
 */

import { join } from "node:path";
import { KernelPrograms } from "../../net/filter/ebpf/kernel_filter.ts";
import { guestLink } from "../../net/filter/guest_link.ts";
import { VERDICT } from "../../net/filter/verdict.ts";
import { writeU16 } from "../../net/wire/bytes.ts";
import { guestFrame, wireguardMessage } from "../doubles/guest_frames.ts";
import { bpfMissing } from "../support/bpf.ts";
import { NetLab } from "../netlab/netlab.ts";
import type { Side, Tally } from "./_ebpf_side.ts";
import type { Bench, Row } from "./bench.ts";
import { forwardersMissing } from "./filter.ts";
import { Forwarders } from "./forward/forwarders.ts";
import { LARGE, SMALL } from "./forward/loads.ts";

/** Length of each measurement (ms). */
const RUN_MS = 2000;
/** Runs of a program in one call. */
const RUNS = 500_000;
const SIDE = join(import.meta.dirname ?? ".", "_ebpf_side.ts");
const CONFIG = join(import.meta.dirname ?? ".", "..", "..", "deno.json");
const NOTE = "one frame a system call; packet thread: many";
const THREAD_LIMIT_MS = 60_000;
const GUEST_PORT = 40000;
const SESSION = 77;

/** Time of one run (ns): frames of the guest, datagrams for it, and other traffic of the host. */
function judge(length: number): { guest: number; uplink: number; other: number } {
  const link = guestLink();
  // The borrower has the gateway's address and the host the guest's, so that what a program makes
  // of a packet is again one that it takes: the kernel runs it on the same one over and over.
  using programs = new KernelPrograms({
    link,
    mac1Key: new Uint8Array(32),
    nodePort: GUEST_PORT,
    tapIndex: 1,
  });
  programs.setUplink({
    ifindex: 1,
    hostAddress: link.guestAddress,
    borrowerAddress: link.gatewayAddress,
    borrowerPort: link.gatewayPort,
  });
  const message = (size: number, type: number): Uint8Array => {
    const bytes = wireguardMessage(size, type);
    new DataView(bytes.buffer).setUint32(4, SESSION, true);
    return bytes;
  };
  programs.fromGuest.trial(guestFrame({ sourcePort: GUEST_PORT, payload: message(148, 1) }));
  const data = guestFrame({ sourcePort: GUEST_PORT, payload: message(length, 4) });
  const guest = programs.fromGuest.trial(data, RUNS);
  const answer = guestFrame({
    ...{ source: link.gatewayAddress, destination: link.guestAddress, destinationMac: 0 },
    ...{ sourcePort: link.gatewayPort, payload: message(length, 4) },
  });
  writeU16(answer, 36, GUEST_PORT);
  const uplink = programs.fromUplink.trial(answer, RUNS);
  const other = programs.fromUplink.trial(guestFrame({ destinationMac: 0 }), RUNS);
  const { fromGuest, fromUplink } = programs.counters();
  const counted = [fromGuest[VERDICT.forwarded], fromUplink[VERDICT.forwarded]];
  if (counted[0] !== RUNS + 1 || counted[1] !== RUNS) {
    throw new Error(`Cannot measure the programs: ${counted.join(" and ")} packets were taken`);
  }
  return { guest: guest.ns, uplink: uplink.ns, other: other.ns };
}

/** What arrives when one side sends. */
async function path(length: number, up: boolean): Promise<Tally> {
  await using lab = await NetLab.create();
  const lender = await lab.namespace("lender");
  const borrower = await lab.namespace("borrower");
  await lab.connect(lender, "192.168.1.100/24", borrower, "192.168.1.7/24");
  // Who counts ends first, so that it counts nothing but a full stream.
  const start = (role: Side["role"], sends: boolean): Deno.ChildProcess => {
    const side: Side = { role, sends, length, ms: sends ? 2 * RUN_MS : RUN_MS };
    const machine = role === "lender" ? lender : borrower;
    return machine.spawn(Deno.execPath(), [
      ...["run", "--quiet", "--no-check", "--no-prompt", "--allow-all", "--config", CONFIG],
      ...[SIDE, JSON.stringify(side)],
    ], { stdout: "piped" });
  };
  const sides = [start("borrower", !up), start("lender", up)];
  const [atBorrower, atLender] = await Promise.all(sides.map(async (child): Promise<Tally> => {
    const { stdout } = await child.output();
    return JSON.parse(new TextDecoder().decode(stdout));
  }));
  const tally = up ? atBorrower : atLender;
  if (tally === undefined || tally.packets === 0) {
    throw new Error("Cannot measure the path: nothing has arrived");
  }
  return tally;
}

/** What the packet thread carries, by the name of a load. */
async function packetThread(): Promise<(load: string) => number> {
  await using forwarders = await Forwarders.create();
  await forwarders.startOurs(1);
  const findings = await forwarders.generate("rates", THREAD_LIMIT_MS);
  return (load) => findings.find(({ name }) => name === load)?.value ?? NaN;
}

function judgeRow(what: string, ns: number, length?: number): Row {
  const gbits = length === undefined ? "" : `, ${(length * 8 / ns).toFixed(0)} Gbit/s`;
  return {
    name: `kernel filter, judge ${what}`,
    value: ns,
    unit: "ns",
    note: `${(1000 / ns).toFixed(1)} M packets/s of one core${gbits}`,
  };
}

/** B6. */
export const ebpfBench: Bench = {
  name: "ebpf",
  missing: forwardersMissing ?? bpfMissing,
  async run(): Promise<Row[]> {
    const small = judge(SMALL);
    const large = judge(LARGE);
    const rows = [
      judgeRow(`${SMALL} B, guest to uplink`, small.guest),
      judgeRow(`${LARGE} B, guest to uplink`, large.guest, LARGE),
      judgeRow(`${LARGE} B, uplink to guest`, large.uplink, LARGE),
      judgeRow("other traffic of the host", large.other),
    ];
    const thread = await packetThread();
    for (const up of [true, false]) {
      const way = up ? "guest to uplink" : "uplink to guest";
      const few = await path(SMALL, up);
      const many = await path(LARGE, up);
      rows.push({
        name: `kernel filter, path ${SMALL} B, ${way}`,
        value: few.packets / few.seconds,
        unit: "packets/s",
        references: [{ name: "packet thread", value: thread(`${SMALL} B, ${way}`) }],
        note: NOTE,
      }, {
        name: `kernel filter, path ${LARGE} B, ${way}`,
        value: many.bytes * 8 / many.seconds / 1e9,
        unit: "Gbit/s",
        references: [{ name: "packet thread", value: thread(`${LARGE} B, ${way}`) }],
        note: NOTE,
      });
    }
    return rows;
  },
};
