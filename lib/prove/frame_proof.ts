/**
 * A proof from without: the guest of a VM that is lent is not the lender's to enter, so the VM's live
 * filter is asked, frame by frame, what it would do if these came from its cable now. Nothing is sent
 * and the VM notices nothing. What a guest asks by sockets of its own is not a part of it.
 *
 * @module
 */

import { randomBytes } from "node:crypto";
import type { ApiClient } from "../api/client.ts";
import type { LentView, RehearsalView } from "../api/schemas.ts";
import { OmertaError } from "../core/errors.ts";
import type { VmId } from "../core/ids.ts";
import { parseHostPort } from "../core/link.ts";
import { guestMac } from "../node/vm_for_lease.ts";
import { guestLink } from "../../net/filter/guest_link.ts";
import { parseMac } from "../../net/wire/ethernet.ts";
import { ipv4ToString, parseIpv4 } from "../../net/wire/ip_address.ts";
import type { Attempt } from "./attempt.ts";
import { attemptsOf } from "./attempts.ts";
import { isUnsealed } from "./expectation.ts";
import { arpFrame, udpFrame } from "./frames.ts";
import { judge, noFilter } from "./judge.ts";
import { markOf, NONCE_LEN } from "./mark.ts";
import type { Proof, Row } from "./report.ts";
import { GATEWAY, ipv4, type Scene } from "./scene.ts";

/** Frames asked about at once: a host may have many addresses. */
const FRAMES_PER_REQUEST = 512;

/** What the filter would do with one frame. */
export type Rehearsed = RehearsalView["frames"][number];

/** An address of this host, as the runtime tells it. */
export type HostAddress = Pick<
  Deno.NetworkInterfaceInfo,
  "name" | "family" | "address" | "netmask" | "mac"
>;

/** Addresses for what is not there: RFC 5737. Nothing is sent to any of them. */
const NOBODY = { internet: "203.0.113.10", uplink: "192.0.2.100", borrower: "198.51.100.7" };

/**
 * Asks the filter of a VM that this node lends.
 *
 * @param only Beginnings of the ids of the attempts; all when there are none.
 * @param addresses Every address of this host.
 */
export async function proveByFrames(
  client: Pick<ApiClient, "rehearse">,
  vm: Pick<LentView, "id" | "mode" | "endpoint">,
  options: {
    /** Beginnings of the ids of the attempts; all when there are none. */
    readonly only: readonly string[];
    /** Every address of this host. */
    readonly addresses: readonly HostAddress[];
    /** UDP port of this node. */
    readonly port: number;
  },
): Promise<Proof> {
  const unsealed = { mode: vm.mode, vm: vm.id, accelerator: null, rows: [noFilter(vm.mode)] };
  if (isUnsealed(vm.mode)) return unsealed;
  const scene = sceneOf(vm, options.addresses, options.port);
  const nonce = new Uint8Array(randomBytes(NONCE_LEN));
  const attempts = attemptsOf(options.only);
  const frames = attempts.map((attempt, row) =>
    attempt.frames(scene, (frame) => markOf(nonce, { row, frame }))
  );
  const controls = [arpFrame(scene.link, nonce, { target: scene.link.gatewayAddress })];
  controls.push(udpFrame(scene.link, markOf(nonce, { row: 0xffff, frame: 0 })));
  const all = [...controls, ...frames.flat()];
  const answers: Rehearsed[] = [];
  try {
    for (let first = 0; first < all.length; first += FRAMES_PER_REQUEST) {
      const some = all.slice(first, first + FRAMES_PER_REQUEST);
      answers.push(...await client.rehearse(vm.id, some));
    }
  } catch (error) {
    if (!(error instanceof OmertaError) || error.code !== "no-such-guest") throw error;
    return unsealed;
  }
  let at = controls.length;
  const rows = attempts.map((attempt, row) => {
    const count = frames[row]?.length ?? 0;
    return rowOf(attempt, answers.slice(at, at += count), count);
  });
  const [arp, tunnel] = answers;
  return {
    mode: vm.mode,
    vm: vm.id,
    accelerator: null,
    rows: [
      controlRow("arp", "asks for the gateway's MAC address", "guest", arp),
      controlRow("tunnel", "a WireGuard message to the borrower", "uplink", tunnel),
      ...rows,
    ],
  };
}

/** What has to pass. */
function controlRow(
  id: string,
  tries: string,
  wanted: Rehearsed["out"],
  found: Rehearsed | undefined,
): Row {
  const holds = found?.out === wanted;
  const why = holds ? "" : `the filter says ${found?.verdict ?? "nothing"}`;
  const outcome = holds ? "held" : "unproven";
  return {
    id,
    tries,
    leak: "it comes out elsewhere",
    expected: "passes",
    outcome,
    why,
    sent: 1,
    refused: {},
  };
}

function rowOf(attempt: Attempt, answers: readonly Rehearsed[], count: number): Row {
  const refused: Record<string, number> = {};
  const seen: string[] = [];
  answers.forEach(({ verdict, out, unjudged }, i) => {
    if (out !== "nothing") {
      seen.push(`frame ${i} would go to the ${out}${unjudged ? ", unjudged" : ""}`);
    } else refused[verdict] = (refused[verdict] ?? 0) + 1;
  });
  const findings = { faults: [], wanted: count, sent: answers.length, refused, answers: [], seen };
  return {
    id: attempt.id,
    tries: attempt.tries,
    leak: attempt.leak,
    expected: "refused",
    ...judge(findings, attempt.reasons),
    sent: answers.length,
    refused,
  };
}

/** The targets as they are around this host. */
export function sceneOf(
  vm: Pick<LentView, "id" | "endpoint">,
  addresses: readonly HostAddress[],
  port: number,
): Scene {
  const four = addresses.filter(({ family }) => family === "IPv4");
  const uplink = four.find(({ address }) => !address.startsWith("127."));
  const own = ipv4(uplink?.address ?? NOBODY.uplink);
  const mask = parseIpv4(uplink?.netmask ?? "255.255.255.0") ?? 0xffffff00;
  const named = four.map(({ name, address }) => [`${name} ${address}`, address] as const);
  const { host, port: borrowerPort } = parseHostPort(vm.endpoint);
  return {
    link: guestLink({ guestMac: parseMac(guestMac(vm.id as VmId)) ?? 0 }),
    host: {
      ...Object.fromEntries(named),
      uplink: ipv4ToString(own),
      loopback: "127.0.0.1",
      gateway: GATEWAY,
    },
    host6: addresses.filter(({ family }) => family === "IPv6").map(({ address }) => address),
    cards: [...new Set(addresses.map(({ mac }) => parseMac(mac) ?? 0)), 0x0200000000fe],
    lenderPort: port,
    neighbour: ipv4ToString((own ^ 1) >>> 0),
    router: ipv4ToString(((own & mask) | 1) >>> 0),
    broadcast: ipv4ToString((own | ~mask) >>> 0),
    internet: NOBODY.internet,
    borrower: {
      address: parseIpv4(host) === undefined ? NOBODY.borrower : host,
      port: borrowerPort ?? port,
    },
    other: { mac: 0x0200000000fe, tunnel: "10.0.255.254" },
  };
}
