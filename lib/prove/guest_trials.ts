/**
 * The attempts of one VM, one after the other, and what came of each.
 *
 * @module
 */

import { randomBytes } from "node:crypto";
import { join } from "node:path";
import { setTimeout as pause } from "node:timers/promises";
import type { StatusView, VmView } from "../api/schemas.ts";
import { readTextIfThere } from "../core/files.ts";
import type { VmId } from "../core/ids.ts";
import { guestMac } from "../node/vm_for_lease.ts";
import type { Pair } from "../pair/pair.ts";
import { insideNamespace } from "../../net/os/namespace_linux.ts";
import { parseMac } from "../../net/wire/ethernet.ts";
import { type Attempt, callsTo } from "./attempt.ts";
import { SCAN_PORTS } from "./attempts.ts";
import type { Controls } from "./controls.ts";
import { isUnsealed } from "./expectation.ts";
import { payload, udpFrame } from "./frames.ts";
import { countOf, type Findings, grown, judge, noFilter, seenInWords } from "./judge.ts";
import { CALL_FRAME, markOf, NONCE_LEN } from "./mark.ts";
import type { Firewall, Probe } from "./probe.ts";
import type { Row } from "./report.ts";
import { ipv4, type Scene } from "./scene.ts";
import { CLOSED_PORT, type Machine, TCP_PORTS, type Watch, type World } from "./world.ts";

/** How long the filter may take to count what was sent, in ms. */
const COUNT_MS = 4000;
/** How long a VM may take to end after a violation, in ms. */
const END_MS = 30_000;
/** How long the other VM is listened to, in ms. */
const HEAR_MS = 400;
const HEAR_CONTROL_MS = 5000;
const POLL_MS = 50;
/** Numbers, in their marks, of what has to pass, of what the guest's own wall is to stop. */
const TUNNEL_ROW = 0xffff;
const WALL_ROW = 0xfffe;
/** A port of the other VM on which nobody listens. */
const DISCARD_PORT = 9;

/** Another VM of the same lender. */
export interface OtherVm {
  /** The VM. */
  readonly vm: VmView;
  /** Listens in it. */
  readonly probe: Probe;
}

/** What the attempts of one VM need. */
export interface TrialOptions {
  /** Where they are made. */
  readonly world: World;
  /** The lender and the borrower. */
  readonly daemons: Pair;
  /** What is tried. */
  readonly attempts: readonly Attempt[];
  /** What the controls found. */
  readonly controls: Controls;
  /** The VM. */
  readonly vm: VmView;
  /** The probe in it. */
  readonly probe: Probe;
  /** Another VM; undefined when none of the attempts needs it. */
  readonly other: OtherVm | undefined;
  /** Hears what is being done. */
  readonly onStep: (what: string) => void;
  /** Gives it up. */
  readonly signal: AbortSignal;
}

/** What is known of an attempt before the last look at what came out. */
type Pending = Omit<Findings, "seen">;

/** The attempts of one VM. */
export class GuestTrials {
  readonly #o: TrialOptions;
  readonly #scene: Scene;
  readonly #watch: Watch;

  private constructor(options: TrialOptions, scene: Scene, watch: Watch) {
    this.#o = options;
    this.#scene = scene;
    this.#watch = watch;
  }

  /** Finds out where everything is, and sends the VM's own packets by its cable. */
  static async create(options: TrialOptions): Promise<GuestTrials> {
    const { world, vm, daemons: { lender, borrower }, other } = options;
    const macOf = (view: VmView): number => parseMac(guestMac(view.id as VmId)) ?? 0;
    const scene = world.scene({
      mac: macOf(vm),
      lenderPort: (await lender.client.status()).port,
      borrowerPort: (await borrower.client.status()).port,
      ...(other ? { other: { mac: macOf(other.vm), tunnel: other.vm.address } } : {}),
    });
    const nonce = new Uint8Array(randomBytes(NONCE_LEN));
    return new GuestTrials(options, scene, world.watch(nonce));
  }

  /** Makes every attempt; what came out is looked at once more when the last has been made. */
  async all(): Promise<Row[]> {
    const { attempts, probe, onStep, signal, vm: { mode } } = this.#o;
    if (isUnsealed(mode) || await this.#refused() === undefined) return [noFilter(mode)];
    const { internet, neighbour, router, host, other, broadcast } = this.#scene;
    await probe.route([
      ...[internet, neighbour, router, broadcast, other.tunnel, host["uplink"] ?? router],
    ]);
    onStep("what has to pass");
    const first = [await this.#tunnel()];
    onStep("both walls");
    first.push(await this.#secondWall());
    await probe.noFirewall();
    const found: Pending[] = [];
    for (const [row, attempt] of attempts.entries()) {
      signal.throwIfAborted();
      onStep(`${row + 1} of ${attempts.length}: ${attempt.id}`);
      found.push(await this.#try(attempt, row));
    }
    const lost = this.#lost();
    return first.concat(attempts.map((attempt, row) => {
      const { faults, wanted, sent, refused, answers } = found[row] ?? NOTHING;
      const seen = this.#seen(row);
      const findings = { faults: [...faults, ...lost], wanted, sent, refused, answers, seen };
      return {
        id: attempt.id,
        tries: attempt.tries,
        leak: attempt.leak,
        expected: "refused",
        ...judge(findings, attempt.reasons),
        sent,
        refused,
      };
    }));
  }

  /** In a mode that ends the VM: what has to pass does, and one frame to a stranger ends it. */
  async untilEnded(): Promise<Row[]> {
    const { probe, onStep, controls } = this.#o;
    onStep("what has to pass");
    const first = await this.#tunnel();
    onStep("one frame to a host on the internet");
    const mark = markOf(this.#watch.nonce, { row: 0, frame: 0 });
    const frame = udpFrame(this.#scene.link, mark, { to: ipv4(this.#scene.internet), port: 53 });
    let sent = 1;
    // The answer may not come back: that is the point. It does when the guest could not send.
    const sending = probe.frames([frame]).then((answer) => sent = answer.sent, () => {});
    const deadline = performance.now() + END_MS;
    while (await this.#isLent() && performance.now() < deadline) await pause(POLL_MS);
    await Promise.race([sending, pause(POLL_MS)]);
    const faults = [...controls.places.get("internet") ?? [], ...this.#lost()];
    if (await this.#isLent()) faults.push(`the VM still runs after ${END_MS / 1000} s`);
    const said = (await this.#events("vm-violation")).at(0);
    if (said === undefined) faults.push("the lender has not logged why");
    const refused: Record<string, number> = said === undefined ? {} : { destination: 1 };
    const findings = { faults, wanted: 1, sent, refused, answers: [], seen: this.#seen(0) };
    return [first, {
      id: "ends-vm",
      tries: "one frame to a host on the internet",
      leak: "the frame is seen outside, or the VM goes on",
      expected: "ended",
      ...judge(findings, ["destination"]),
      sent,
      refused,
    }];
  }

  /**
   * A frame with the shape of a WireGuard message reaches the borrower, and nobody beside; and what
   * is asked by the tunnel is answered: the probe knows an answer when there is one.
   */
  async #tunnel(): Promise<Row> {
    const { probe, world } = this.#o;
    const mark = markOf(this.#watch.nonce, { row: TUNNEL_ROW, frame: 0 });
    // From the tunnel's own port, so that answers go on finding it.
    const sourcePort = probe.port;
    const { sent } = await probe.frames([udpFrame(this.#scene.link, mark, { sourcePort })]);
    const there = (machine: Machine): boolean =>
      this.#watch.seen.get(TUNNEL_ROW)?.get(0)?.has(machine) === true;
    const deadline = performance.now() + COUNT_MS;
    while (!there("borrower") && performance.now() < deadline) await pause(POLL_MS);
    world.look();
    const faults = there("borrower") ? [] : ["the borrower has not seen it"];
    faults.push(...await this.#answersByTunnel());
    const leak = "the frame is seen beside the way to the borrower";
    const row = { id: "tunnel", leak, expected: "passes", sent, refused: {} } as const;
    const tries = "a WireGuard message by the guest's own hand, and questions by the tunnel";
    if (there("neighbour")) {
      return { ...row, tries, outcome: "leaked", why: "the neighbour has seen it" };
    }
    const outcome = faults.length === 0 ? "held" : "unproven";
    return { ...row, tries, outcome, why: faults.join(", ") };
  }

  /** What the probe asks by the tunnel and nobody answers. */
  async #answersByTunnel(): Promise<string[]> {
    const { probe } = this.#o;
    const { address: host } = this.#scene.borrower;
    const nonce = new Uint8Array(randomBytes(NONCE_LEN));
    const word = new TextEncoder().encode(host).toHex();
    const calls = callsTo(host);
    const { answers } = await probe.calls("tunnel", calls, nonce);
    const faults = calls.flatMap(({ kind }, i) => {
      const wanted = { udp: nonce.toHex() + word, tcp: word, ping: nonce.toHex() }[kind];
      return answers[i]?.includes(wanted) ? [] : [`${host} does not answer ${kind} by the tunnel`];
    });
    const said = await probe.scan("tunnel", host, [TCP_PORTS[0], CLOSED_PORT]);
    if (said[TCP_PORTS[0]] !== "open") faults.push("a scan by the tunnel misses an open port");
    if (said[CLOSED_PORT] !== "ECONNREFUSED") {
      faults.push("a scan by the tunnel misses a closed port");
    }
    return faults;
  }

  /** With the guest's own wall up: it refuses, counts and logs; and so does the filter beyond it. */
  async #secondWall(): Promise<Row> {
    const { probe } = this.#o;
    const { internet, neighbour, link } = this.#scene;
    const mark = (frame: number): Uint8Array => markOf(this.#watch.nonce, { row: WALL_ROW, frame });
    const before = await this.#refused() ?? {};
    const guestBefore = await probe.firewall();
    const calls = [internet, neighbour].flatMap(callsTo);
    const asked = await probe.calls("cable", calls, payload(mark(CALL_FRAME)));
    // A raw frame goes past the guest's own wall: the second one has to stop it alone.
    const { sent } = await probe.frames([
      udpFrame(link, mark(0), { to: ipv4(this.#scene.internet), port: 53 }),
    ]);
    const guestAfter = await probe.firewall();
    const refused = await this.#countUntil(before, ["destination"], 1);
    this.#o.world.look();
    const answers = asked.answers.flatMap((answer, i) =>
      answer === null ? [] : [`${calls[i]?.host} answered: ${answer}`]
    );
    const faults = wallFaults(guestBefore, guestAfter, calls.length);
    if ((await this.#events("guest-refused")).length === 0) {
      faults.push("the lender has logged no refusal");
    }
    const seen = this.#seen(WALL_ROW);
    return {
      id: "second-wall",
      tries: "UDP, TCP and ICMP with the guest's own wall up, and a raw frame past it",
      leak: "somebody answers, or the frame is seen outside",
      expected: "refused twice",
      ...judge({ faults, wanted: 1, sent, refused, answers, seen }, ["destination"]),
      sent: sent + asked.sent,
      refused,
    };
  }

  async #try(attempt: Attempt, row: number): Promise<Pending> {
    const { probe } = this.#o;
    const mark = (frame: number): Uint8Array => markOf(this.#watch.nonce, { row, frame });
    const frames = attempt.frames(this.#scene, mark);
    const calls = attempt.calls?.(this.#scene) ?? [];
    const scanned = attempt.scan?.(this.#scene);
    const faults = this.#faults(attempt, row);
    if (attempt.from.includes("other")) faults.push(...await this.#otherHears());
    const before = await this.#refused() ?? {};
    const answers: string[] = [];
    let { sent, why } = await probe.frames(frames);
    let wanted = frames.length;
    if (why !== "") faults.push(`the guest's kernel says ${why}`);
    if (calls.length > 0) {
      const asked = await probe.calls("cable", calls, payload(mark(CALL_FRAME)));
      asked.answers.forEach((answer, i) => {
        const call = calls[i];
        if (answer !== null && call) answers.push(`${call.host} answered ${call.kind}: ${answer}`);
      });
      wanted += calls.length;
      sent += asked.sent;
    }
    if (scanned !== undefined) {
      const said = Object.entries(await probe.scan("cable", scanned, SCAN_PORTS));
      for (const [port, word] of said) answers.push(`port ${port} of ${scanned} said ${word}`);
      wanted += SCAN_PORTS.length;
      sent += SCAN_PORTS.length;
    }
    const refused = await this.#countUntil(before, attempt.reasons, wanted);
    if (attempt.from.includes("other") && this.#o.other) {
      const heard = await this.#o.other.probe.hear(this.#watch.nonce, HEAR_MS);
      if (heard) answers.push("a frame was seen in the other VM");
    }
    return { faults, wanted, sent, refused, answers };
  }

  /** Whether whoever listens in the other VM hears what its borrower sends it. */
  async #otherHears(): Promise<string[]> {
    const { other, world } = this.#o;
    if (!other) return ["there is no other VM"];
    const nonce = new Uint8Array(randomBytes(NONCE_LEN));
    const socket = insideNamespace(
      world.pathOf("borrower"),
      () => Deno.listenDatagram({ transport: "udp", hostname: "0.0.0.0", port: 0 }),
    );
    try {
      const { address } = other.vm;
      await socket.send(nonce, { transport: "udp", hostname: address, port: DISCARD_PORT });
    } finally {
      socket.close();
    }
    const heard = await other.probe.hear(nonce, HEAR_CONTROL_MS);
    return heard ? [] : ["the other VM does not hear its own borrower"];
  }

  /** Looks once more, and says whether anything went by unseen. */
  #lost(): string[] {
    const { world } = this.#o;
    world.look();
    const { lost } = world;
    return lost === 0 ? [] : [`${lost} frames were not looked at`];
  }

  #faults(attempt: Attempt, row: number): string[] {
    const { places, unseen } = this.#o.controls;
    const faults = attempt.from.flatMap((place) => places.get(place) ?? []);
    const blind = unseen.get(row) ?? 0;
    if (blind > 0) faults.push(`${blind} of its frames would not be seen outside`);
    return faults;
  }

  /** Where its frames were seen, in words. */
  #seen(row: number): string[] {
    return seenInWords(this.#watch.seen.get(row) ?? new Map());
  }

  /** What the lender's filter has refused of this VM, by reason; undefined when it has none. */
  async #refused(): Promise<Readonly<Record<string, number>> | undefined> {
    const { cables } = await this.#status();
    return cables.find(({ id }) => id === this.#o.vm.id)?.refused;
  }

  async #isLent(): Promise<boolean> {
    const { lending } = await this.#status();
    return lending?.vms.some(({ id }) => id === this.#o.vm.id) === true;
  }

  #status(): Promise<StatusView> {
    return this.#o.daemons.lender.client.status();
  }

  /** What was refused since `before`, as soon as it is as much as is wanted. */
  async #countUntil(
    before: Readonly<Record<string, number>>,
    reasons: readonly string[],
    wanted: number,
  ): Promise<Record<string, number>> {
    const deadline = performance.now() + COUNT_MS;
    while (true) {
      const refused = grown(before, await this.#refused() ?? {});
      if (countOf(refused, reasons) >= wanted || performance.now() > deadline) return refused;
      await pause(POLL_MS);
    }
  }

  /** What the lender has logged of this VM. */
  async #events(event: string): Promise<string[]> {
    const path = join(this.#o.daemons.lender.paths.logs, "events.jsonl");
    return (await readTextIfThere(path) ?? "").split("\n").filter((line) =>
      line.includes(`"event":"${event}"`) && line.includes(this.#o.vm.id)
    );
  }
}

const NOTHING: Pending = {
  faults: ["it was not made"],
  wanted: 0,
  sent: 0,
  refused: {},
  answers: [],
};

/** What speaks against the guest's own wall. */
function wallFaults(before: Firewall, after: Firewall, calls: number): string[] {
  const faults = ["input", "forward", "output"]
    .filter((chain) => after.chains[chain]?.policy !== "drop")
    .map((chain) => `the guest's own wall does not drop in ${chain}`);
  const refused = (after.chains["output"]?.refused ?? 0) - (before.chains["output"]?.refused ?? 0);
  if (refused < calls) faults.push(`the guest's own wall has counted ${refused} of ${calls}`);
  if (after.logged === 0) faults.push("the guest's own wall has logged nothing");
  return faults;
}
