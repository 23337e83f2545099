import assert from "node:assert/strict";
import { join } from "node:path";
import { directNetwork, type NetworkKey } from "../../net/mesh/envelope.ts";
import { Endpoint } from "../../net/os/endpoint.ts";
import { type LendRules, newConfig } from "../core/config.ts";
import { generateIdentity, Identity } from "../core/identity.ts";
import { OmertaError } from "../core/errors.ts";
import type { VmId } from "../core/ids.ts";
import { EventLog } from "../core/log.ts";
import { generateSshKey } from "../core/ssh_key.ts";
import { Control } from "./control.ts";
import type { GuestNetwork } from "./guest_network.ts";
import { Lender, type LenderOptions } from "./lender.ts";
import {
  CHANNEL,
  ShutdownNotice,
  VmAccepted,
  VmList,
  VmReleased,
  type VmRequest,
  VmStatus,
} from "./messages.ts";
import type { BaseImage } from "../../vm/image/image.ts";
import type { RogueAlarm } from "../../net/filter/rogue.ts";
import type { PlaneGuestStats } from "../../net/plane/plane.ts";
import { NO_STAGE } from "../../vm/stages.ts";
import { formatKey, publicKeyOf } from "../../net/wireguard/keys.ts";
import type { Vm, VmSpec } from "../../vm/manager.ts";
import { until } from "../../tests/support/until.ts";
import type { z } from "zod";

const KEY = "09".repeat(32);
const OTHER_KEY = "08".repeat(32);
const MINUTE = 60_000;

/** A lender whose VMs are never started, under a fake clock, and the borrowers that talk to it. */
class World implements AsyncDisposable {
  now = Date.parse("2026-01-01T12:00Z"); // a Thursday
  rules: LendRules = {
    ...newConfig(0).lend,
    ...{ cpus: 4, memoryMiB: 4096, diskGiB: 40, vms: 3 },
  };
  readonly lender: Lender;
  readonly #folder = Deno.makeTempDirSync();
  readonly #events = new EventLog(this.#folder);
  readonly #lenderControl: Control;
  readonly #borrowers = new Map<string, Control>();
  readonly #network = directNetwork(Uint8Array.fromHex(KEY));
  readonly #otherNetwork = directNetwork(Uint8Array.fromHex(OTHER_KEY));

  /** @param parts What is different from a lender that starts nothing. */
  constructor(parts: Partial<LenderOptions> = {}) {
    this.#lenderControl = new Control({
      identity: new Identity(generateIdentity(0)),
      networks: () => [this.#network, this.#otherNetwork],
      send: (datagram, to) =>
        queueMicrotask(() => this.#borrowers.get(to.address)?.receive(datagram, LENDER)),
      now: () => this.now,
    });
    this.lender = new Lender({
      control: this.#lenderControl,
      networkOf: () => ({
        addGuest: () => assert.fail("nothing is started"),
        removeGuest: () => assert.fail("nothing is started"),
        setUplink: () => assert.fail("nothing is started"),
      }),
      guestStats: () => assert.fail("nothing is started"),
      manager: { create: () => assert.fail("nothing is started"), get: () => undefined },
      findImage: () => assert.fail("no image is needed"),
      accelerator: "tcg",
      rules: () => Promise.resolve(this.rules),
      host: () => ({ cpus: 8, memoryMiB: 16_384 }),
      localTime: (at) => ({
        day: new Date(at).getUTCDay(),
        minute: Math.floor(at / MINUTE) % 1440,
      }),
      localKey: KEY,
      dryRun: true,
      events: this.#events,
      now: () => this.now,
      ...parts,
    });
  }

  borrower(address: string, network = this.#network): Borrower {
    const from = endpoint(address);
    const identity = new Identity(generateIdentity(0));
    const control = new Control({
      identity,
      networks: () => [network],
      send: (datagram) => queueMicrotask(() => this.#lenderControl.receive(datagram, from)),
      now: () => this.now,
    });
    this.#borrowers.set(address, control);
    return new Borrower(control, network, identity.peerId);
  }

  /** A borrower with a key that opens envelopes here but is not the lender's own. */
  stranger(address: string): Borrower {
    return this.borrower(address, this.#otherNetwork);
  }

  events(): string {
    return Deno.readTextFileSync(join(this.#folder, "events.jsonl"));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.lender[Symbol.asyncDispose]();
    this.#lenderControl[Symbol.dispose]();
    for (const control of this.#borrowers.values()) control[Symbol.dispose]();
    this.#events[Symbol.dispose]();
    Deno.removeSync(this.#folder, { recursive: true });
  }
}

/** An image that is never read. */
const IMAGE: BaseImage = {
  ...{ id: "0123456789abcdef", name: "debian", arch: "x86_64", disk: "/nowhere/disk.qcow2" },
  ...{ virtualSizeMiB: 2048, boot: { kind: "disk" }, created: "2026-01-01T00:00:00Z" },
};
const SSH_KEY = generateSshKey("borrower").publicLine;
const LENDER = endpoint("192.168.1.100");

function endpoint(address: string): Endpoint {
  const made = Endpoint.of(address, 51820);
  assert.ok(made);
  return made;
}

class Borrower {
  constructor(
    readonly control: Control,
    readonly network: NetworkKey,
    readonly peer: string,
  ) {}

  #ask<T>(channel: string, body: unknown, answer: z.ZodType<T>): Promise<T> {
    return this.control.ask({ channel, body, answer, to: LENDER, network: this.network })
      .then((asked) => asked.body);
  }

  request(changes: Partial<VmRequest> = {}): Promise<VmAccepted> {
    const request = { name: "web", cpus: 1, memoryMiB: 1024, diskGiB: 10, sshKey: SSH_KEY };
    const body = { ...request, taken: [], dryRun: false, ...changes };
    return this.#ask(CHANNEL.request, body, VmAccepted);
  }

  status(vmId: string, seen: readonly string[] = []): Promise<VmStatus> {
    return this.#ask(CHANNEL.status, { vmId, seen }, VmStatus);
  }

  release(vmId: string): Promise<z.infer<typeof VmReleased>> {
    return this.#ask(CHANNEL.release, { vmId }, VmReleased);
  }

  async alive(...vms: string[]): Promise<string[]> {
    return (await this.#ask(CHANNEL.heartbeat, { vms }, VmList)).vms;
  }
}

Deno.test("Lender gives each VM an id of its own and an address that is free there", async () => {
  await using world = new World();
  const borrower = world.borrower("192.168.2.7");
  const first = await borrower.request();
  const second = await borrower.request({ taken: [2, 3] });
  assert.notEqual(first.vmId, second.vmId);
  assert.deepEqual([first.address, second.address], ["10.0.0.2", "10.0.0.4"]);
  assert.deepEqual(Object.keys((await borrower.status(first.vmId)).reached), ["accepted"]);
});

Deno.test("F9: Lender refuses what does not fit and names the limit", async () => {
  await using world = new World();
  const borrower = world.borrower("192.168.2.7");
  await assert.rejects(borrower.request({ memoryMiB: 8192 }), {
    exit: 5,
    message: /Cannot lend 8192 MiB of memory: 4096 MiB of 4096 MiB are free/,
  });
  for (let i = 0; i < 3; i++) await borrower.request({ cpus: 1 });
  await assert.rejects(borrower.request(), { message: /3 of 3 are lent/ });
});

Deno.test("I2: Lender lends only to holders of its own key", async () => {
  await using world = new World();
  await assert.rejects(world.stranger("192.168.2.9").request(), { code: "not-allowed", exit: 5 });
  assert.deepEqual(world.lender.list(), []);
});

Deno.test("a VM belongs to the machine that asked for it", async () => {
  await using world = new World();
  const owner = world.borrower("192.168.2.7");
  const other = world.borrower("192.168.2.8");
  const { vmId } = await owner.request();
  await assert.rejects(other.status(vmId), { code: "unknown-vm" });
  assert.deepEqual(await other.release(vmId), { ended: false });
  assert.deepEqual(await other.alive(vmId), []);
  assert.deepEqual(await owner.alive(vmId, "0".repeat(16)), [vmId]);
  assert.deepEqual(await owner.release(vmId), { ended: true });
  assert.deepEqual(await owner.release(vmId), { ended: false });
});

Deno.test("V10: a VM whose borrower has gone is ended after ten missed heartbeats", async () => {
  await using world = new World();
  const borrower = world.borrower("192.168.2.7");
  const { vmId } = await borrower.request();
  for (let minute = 0; minute < 30; minute++) {
    world.now += MINUTE;
    await borrower.alive(vmId);
    await world.lender.endOverdue();
  }
  assert.equal(world.lender.list().length, 1);
  world.now += 10 * MINUTE;
  await world.lender.endOverdue();
  assert.equal(world.lender.list().length, 1);
  world.now += 1;
  await world.lender.endOverdue();
  assert.deepEqual(world.lender.list(), []);
  assert.match(world.events(), /no word from its borrower for 10 minutes/);
});

Deno.test("V6: a VM ends when its time is over", async () => {
  await using world = new World();
  const borrower = world.borrower("192.168.2.7");
  await borrower.request({ ttlSeconds: 120 });
  world.now += 2 * MINUTE - 1;
  await world.lender.endOverdue();
  assert.equal(world.lender.list().length, 1);
  world.now += 1;
  await world.lender.endOverdue();
  assert.deepEqual(world.lender.list(), []);
  assert.match(world.events(), /its time is over/);
});

Deno.test("N8: Lender refuses a mode that it forbids and names what it allows", async () => {
  await using world = new World();
  const borrower = world.borrower("192.168.2.7");
  world.rules = { ...world.rules, modes: ["conntrack", "sampled"] };
  await assert.rejects(borrower.request(), {
    code: "mode-forbidden",
    exit: 5,
    message: /mode filtered: this lender allows conntrack, sampled/,
    next: "Ask with --mode conntrack, or ask the lender for " +
      "'omerta lend set modes conntrack,sampled,filtered'",
  });
  await borrower.request({ mode: "conntrack" });
  assert.deepEqual(world.lender.list().map(({ mode }) => mode), ["conntrack"]);
});

Deno.test("N8: Lender gives a VM in mode direct a second card, beside a filtered cable", async () => {
  const specs: VmSpec[] = [];
  const modes: unknown[] = [];
  await using world = new World({
    dryRun: false,
    findImage: () => Promise.resolve(IMAGE),
    networkOf: () => ({
      addGuest: (guest) => {
        modes.push(guest.mode);
        return Promise.reject(new Error("It goes no further"));
      },
      removeGuest: () => Promise.resolve(),
      setUplink: () => Promise.resolve(),
    }),
    manager: {
      get: () => undefined,
      create: async (spec, options) => {
        specs.push(spec);
        await options?.beforeStart?.({ cablePath: "/c", guestPath: "/g" } as Vm);
        return assert.fail("it was to go no further");
      },
    },
  });
  world.rules = { ...world.rules, modes: ["direct", "conntrack"] };
  const borrower = world.borrower("192.168.2.7");
  for (const mode of ["direct", "conntrack"] as const) await borrower.request({ mode });
  await until(() => modes.length === 2, { what: "both to be started" });
  assert.deepEqual(modes, ["filtered", "conntrack"]);
  const [direct, conntrack] = specs;
  assert.ok(direct?.network.kind === "cable" && conntrack?.network.kind === "cable");
  assert.match(direct.network.natMac ?? "", /^52:54:01(?::[0-9a-f]{2}){3}$/);
  assert.equal(direct.seed.natMac, direct.network.natMac);
  assert.equal(conntrack.network.natMac ?? conntrack.seed.natMac, undefined);
});

Deno.test("N14: Lender refuses a mode in which it cannot carry the borrower's packets", async () => {
  const unused = (): never => assert.fail("nothing is started");
  const asked: unknown[] = [];
  await using world = new World({
    networkOf: (mode) => ({
      ...{ addGuest: unused, removeGuest: unused, setUplink: unused },
      check: (uplink) => {
        asked.push([mode, uplink.address]);
        if (mode !== "ebpf") return;
        throw new OmertaError("mode-impossible", "Cannot lend in mode ebpf: no rights", {
          exit: 5,
        });
      },
    }),
  });
  const borrower = world.borrower("192.168.2.7");
  await assert.rejects(borrower.request({ mode: "ebpf" }), { message: /mode ebpf: no rights/ });
  assert.deepEqual(world.lender.list(), []);
  await borrower.request();
  assert.deepEqual(asked, [["ebpf", "192.168.2.7"], ["filtered", "192.168.2.7"]]);
});

Deno.test("N8: a violation ends a VM, and whoever waits for it is told why", async () => {
  await using world = new World();
  const borrower = world.borrower("192.168.2.7");
  const { vmId } = await borrower.request({ mode: "conntrack" });
  await world.lender.violated(vmId as VmId, "ICMP a > b (destination)");
  assert.deepEqual(world.lender.list(), []);
  const { failure } = await borrower.status(vmId);
  assert.match(
    failure?.reason ?? "",
    /it sent ICMP a > b \(destination\), which mode conntrack ends/,
  );
  assert.match(world.events(), /"event":"vm-violation".*"mode":"conntrack"/);
  await world.lender.violated(vmId as VmId, "again"); // it may come late
});

Deno.test("N8: a violation of a VM that is ready is told by a notice", async () => {
  await using world = new World();
  const borrower = world.borrower("192.168.2.7");
  const notices: unknown[] = [];
  borrower.control.handle(CHANNEL.shutdown, ShutdownNotice, (notice) => {
    notices.push(notice);
    return { vms: notice.vms };
  });
  const { vmId } = await borrower.request({ mode: "sampled" });
  await borrower.status(vmId, ["ready"]);
  await world.lender.violated(vmId as VmId, "ICMP a > b (destination)");
  const reason = "it sent ICMP a > b (destination), which mode sampled ends a VM for";
  assert.deepEqual(notices, [{ vms: [vmId], reason }]);
  await assert.rejects(borrower.status(vmId), { code: "unknown-vm" });
});

Deno.test("Lender refuses requests that do not fit the schema", async () => {
  await using world = new World();
  const borrower = world.borrower("192.168.2.7");
  for (
    const bad of [
      { name: "../x" },
      { sshKey: "ssh-ed25519 AAAA x\nssh-ed25519 BBBB y" },
      { cpus: 0 },
      { ttlSeconds: 1 },
      { taken: [70_000] },
    ]
  ) await assert.rejects(borrower.request(bad), { code: "bad-request" }, JSON.stringify(bad));
});

Deno.test("F9: Lender refuses peers that are denied, and those that are not allowed", async () => {
  await using world = new World();
  const friend = world.borrower("192.168.2.7");
  const other = world.borrower("192.168.2.8");
  world.rules = { ...world.rules, allow: [friend.peer.slice(0, 12)] };
  await friend.request();
  await assert.rejects(other.request(), {
    ...{
      code: "not-allowed",
      exit: 5,
      next: `Ask the lender for 'omerta lend allow ${other.peer}'`,
    },
    message: new RegExp(`lend to peer ${other.peer}: it is not .* allowed \\(rule allow\\)`),
  });
  world.rules = { ...world.rules, deny: [friend.peer] };
  await assert.rejects(friend.request(), { message: /it is denied \(rule deny\)/ });
  assert.equal(world.lender.list().length, 1, "a VM that was lent before goes on");
});

Deno.test("F9: Lender accepts no VM in quiet hours; one that runs goes on", async () => {
  await using world = new World();
  const borrower = world.borrower("192.168.2.7");
  world.rules = { ...world.rules, quiet: ["thu 22:00-07:00"] };
  const { vmId } = await borrower.request();
  for (let hour = 0; hour < 10; hour++) {
    for (let minute = 0; minute < 60; minute++) {
      world.now += MINUTE;
      await borrower.alive(vmId);
    }
    await world.lender.endOverdue();
  }
  await assert.rejects(borrower.request(), {
    ...{ code: "quiet-hours", exit: 5, next: "Ask again after 07:00 of the lender's time" },
    message: /Cannot lend a VM now: it is quiet until 07:00 of the lender's time \(rule quiet\)/,
  });
  assert.deepEqual(await borrower.alive(vmId), [vmId]);
  world.now += 9 * 60 * MINUTE;
  await borrower.request();
});

Deno.test("F9: Lender counts the VMs of one borrower", async () => {
  await using world = new World();
  const borrower = world.borrower("192.168.2.7");
  world.rules = { ...world.rules, perBorrower: 1 };
  const { vmId } = await borrower.request();
  await assert.rejects(borrower.request(), {
    ...{ code: "no-room", exit: 5, next: "Release one of your VMs" },
    message: /1 of 1 are lent to peer [0-9a-f]{16} \(rule borrower-vms\)/,
  });
  await world.borrower("192.168.2.8").request();
  await borrower.release(vmId);
  await borrower.request();
});

Deno.test.each<[Partial<LendRules["perVm"]>, Partial<VmRequest>, RegExp, string]>([
  [
    { cpus: 2 },
    { cpus: 3 },
    /Cannot lend 3 of processors: 2 is the most for one VM \(rule vm-cpus\)/,
    "Ask with --cpu 2 or less",
  ],
  [
    { memoryMiB: 2048 },
    { memoryMiB: 3000 },
    /Cannot lend 3000 MiB of memory: 2048 MiB is the most for one VM \(rule vm-memory\)/,
    "Ask with --memory 2048 or less",
  ],
  [
    { diskGiB: 10 },
    { diskGiB: 20 },
    /Cannot lend 20 GiB of disk: 10 GiB is the most for one VM \(rule vm-disk\)/,
    "Ask with --disk 10 or less",
  ],
  [
    { ttlSeconds: 14_400 },
    { ttlSeconds: 14_460 },
    /Cannot lend a VM for 241m: 4h is the longest \(rule vm-ttl\)/,
    "Ask with --ttl 4h or less",
  ],
  [
    { ttlSeconds: 14_400 },
    {},
    /Cannot lend a VM without an end: 4h is the longest \(rule vm-ttl\)/,
    "Ask with --ttl 4h or less",
  ],
  [
    { ttlRequired: true },
    {},
    /Cannot lend a VM without an end: a time must be given \(rule ttl-required\)/,
    "Ask with --ttl TIME",
  ],
])("F9: Lender with %o for a VM refuses %o", async (perVm, asked, message, next) => {
  await using world = new World();
  const borrower = world.borrower("192.168.2.7");
  world.rules = { ...world.rules, perVm: { ...world.rules.perVm, ...perVm } };
  await assert.rejects(borrower.request(asked), { code: "over-limit", exit: 5, message, next });
  await borrower.request({ ttlSeconds: 14_400 });
});

Deno.test("F9: Lender keeps back what is reserved for its host", async () => {
  await using world = new World();
  const borrower = world.borrower("192.168.2.7");
  world.rules = { ...world.rules, reserve: { cpus: 0, memoryMiB: 14_000 } };
  await borrower.request();
  await assert.rejects(borrower.request({ memoryMiB: 2048 }), {
    ...{ code: "no-room", exit: 5, next: "Ask with --memory 1360 or less" },
    message: /1360 MiB are free beside 14000 MiB that the host keeps \(rule reserve-memory\)/,
  });
  world.rules = { ...world.rules, reserve: { cpus: 7, memoryMiB: 0 } };
  await assert.rejects(borrower.request(), {
    ...{ code: "no-room", next: "Ask again later" },
    message: /0 are free beside 7 that the host keeps \(rule reserve-cpus\)/,
  });
});

Deno.test("F9: Lender goes by the rules of the moment of the request", async () => {
  await using world = new World();
  const borrower = world.borrower("192.168.2.7");
  await borrower.request();
  world.rules = { ...world.rules, vms: 1 };
  await assert.rejects(borrower.request(), { message: /1 of 1 are lent \(rule vms\)/ });
  world.rules = { ...world.rules, vms: 2 };
  await borrower.request();
});

Deno.test("F9: Lender looks again when others came first while the image was looked for", async () => {
  const { promise: image, resolve: found } = Promise.withResolvers<BaseImage>();
  let waiting = 0;
  await using world = new World({
    dryRun: false,
    findImage: () => {
      waiting++;
      return image;
    },
    manager: {
      create: (_, { signal } = {}) =>
        new Promise((_, reject) => {
          signal?.addEventListener("abort", () => reject(signal.reason));
        }),
      get: () => undefined,
    },
    networkOf: () => ({
      addGuest: () => assert.fail("no machine is started"),
      removeGuest: () => Promise.resolve(),
      setUplink: () => assert.fail("nobody moves"),
    }),
  });
  world.rules = { ...world.rules, vms: 1 };
  const both = ["192.168.2.7", "192.168.2.8"].map((at) => world.borrower(at).request());
  await until(() => waiting === 2, { what: "both requests" });
  found(IMAGE);
  const [first, second] = await Promise.allSettled(both);
  assert.equal(first?.status, "fulfilled");
  assert.match(second?.status === "rejected" ? String(second.reason) : "", /1 of 1 are lent/);
  assert.equal(world.lender.list().length, 1);
});

const ALARM: RogueAlarm = {
  ...{ kind: "scan", time: 7, frames: 20, destinations: 16 },
  frame: "UDP 192.168.100.2:9 > 8.8.8.8:53 len 1 (destination)",
};

/** The reasons that a borrower is told. */
function noticesOf(borrower: Borrower): string[] {
  const reasons: string[] = [];
  borrower.control.handle(CHANNEL.shutdown, ShutdownNotice, (notice) => {
    reasons.push(notice.reason);
    return { vms: notice.vms };
  });
  return reasons;
}

Deno.test("N12: a VM that is called rogue is written down, raises an alarm, or is ended, as the rules say now", async () => {
  await using world = new World();
  const borrower = world.borrower("192.168.2.7");
  const notices = noticesOf(borrower);
  const { vmId } = await borrower.request();
  const other = await borrower.request({ name: "other" });
  await borrower.status(vmId, ["ready"]);
  const { lender } = world;
  const rogue = (action: "log" | "alarm" | "end"): Promise<void> => {
    world.rules = { ...world.rules, rogue: { ...world.rules.rogue, action } };
    return lender.rogue(vmId as VmId, ALARM);
  };

  await rogue("log");
  assert.match(
    world.events(),
    /"event":"vm-rogue".*"action":"log","kind":"scan","words":"it tried 16 dest.*8\.8\.8\.8:53/,
  );
  assert.deepEqual(lender.alarms.list(), []);
  await rogue("alarm");
  assert.deepEqual(
    lender.alarms.list().map(({ vm, kind, frames, last }) => [vm, kind, frames, last]),
    [[vmId, "scan", 20, 7]],
  );
  assert.equal(lender.list().length, 2);
  await rogue("end");
  assert.deepEqual(lender.list().map(({ id }) => id), [other.vmId]);
  const reason = "it tried 16 destinations that it may not reach, the last one " +
    "UDP 192.168.100.2:9 > 8.8.8.8:53 len 1 (destination); this lender ends a VM for that";
  assert.deepEqual(notices, [reason]);
  assert.ok(world.events().includes(reason));
  assert.equal(lender.alarms.list(vmId)[0]?.times, 2, "the alarm stays when the VM has gone");
  await lender.rogue(vmId as VmId, ALARM); // it may come late
});

Deno.test("N12: whoever waits for a VM that is ended as rogue is told why", async () => {
  await using world = new World();
  const borrower = world.borrower("192.168.2.7");
  world.rules = { ...world.rules, rogue: { ...world.rules.rogue, action: "end" } };
  const { vmId } = await borrower.request();
  await world.lender.rogue(vmId as VmId, { ...ALARM, frame: "x".repeat(2000) });
  assert.match((await borrower.status(vmId)).failure?.reason ?? "", /it tried 16 .* ends a VM/);
});

/** Takes guests and does nothing with them. */
const IDLE_NETWORK: GuestNetwork = {
  addGuest: () => Promise.resolve(),
  removeGuest: () => Promise.resolve(),
  setUplink: () => Promise.resolve(),
};

/** A VM that is never started, but set up in no time. */
const SET_UP_VM: Vm = {
  ...{ id: "0123456789abcdef" as VmId, name: "web", folder: "", guestPath: "", cablePath: "" },
  ...{ stages: NO_STAGE, state: "running", pid: undefined, accelerator: "tcg" },
  exited: new Promise(() => {}),
  waitFor: () => Promise.resolve(),
  reach: () => {},
  consoleLines: () => [],
  stop: () => Promise.resolve(),
};

/** Makes nothing but that VM. */
const SET_UP_MANAGER: LenderOptions["manager"] = {
  create: (_, { onStage } = {}) => {
    onStage?.("cloud-init", 0);
    return Promise.resolve(SET_UP_VM);
  },
  get: () => SET_UP_VM,
};

Deno.test("N13: a VM whose tunnel is lost is ended, and its borrower told, at the latest when he is back", async () => {
  let guests: Partial<PlaneGuestStats>[] = [];
  let asked = 0;
  await using world = new World({
    dryRun: false,
    findImage: () => Promise.resolve(IMAGE),
    manager: SET_UP_MANAGER,
    networkOf: () => IDLE_NETWORK,
    guestStats: () => {
      asked++;
      return Promise.resolve(guests as PlaneGuestStats[]);
    },
  });
  await world.lender.endOverdue();
  assert.equal(asked, 0, "nobody is asked about nothing");
  world.rules = { ...world.rules, tunnelTimeoutSeconds: 300 };
  const borrower = world.borrower("192.168.2.7");
  const [lost, fine] = [await borrower.request({ cpus: 1 }), await borrower.request({ cpus: 1 })];
  const begin = world.now;
  const heard = (id: string, at: number): Partial<PlaneGuestStats> => ({
    ...{ id, sessionFromGuestMs: at, sessionToGuestMs: at },
  });
  const lent = (): string[] => world.lender.list().map(({ id }) => id);
  const pass = async (ms: number): Promise<void> => {
    world.now += ms;
    // Heartbeats go on: the borrower is there, its tunnel is not.
    await borrower.alive(lost.vmId, fine.vmId);
    guests = [heard(lost.vmId, begin + 1), heard(fine.vmId, world.now)];
    await world.lender.endOverdue();
  };
  await pass(5 * MINUTE);
  assert.deepEqual(lent(), [lost.vmId, fine.vmId]);
  assert.equal(asked, 1, "one question for all");
  world.rules = { ...world.rules, tunnelTimeoutSeconds: null };
  await pass(MINUTE);
  assert.deepEqual(lent(), [lost.vmId, fine.vmId]);
  world.rules = { ...world.rules, tunnelTimeoutSeconds: 300 };
  world.now -= MINUTE;
  await pass(1);
  assert.deepEqual(lent(), [fine.vmId]);
  assert.match(world.events(), /"event":"vm-ended".*"its tunnel was lost for 5 min"/);

  // Nobody took the notice at the time: the next heartbeat brings it, before its own answer.
  const notices = noticesOf(borrower);
  assert.deepEqual(await borrower.alive(lost.vmId, fine.vmId), [fine.vmId]);
  assert.deepEqual(notices, ["its tunnel was lost for 5 min"]);
  const other = world.borrower("192.168.2.8");
  const theirs = noticesOf(other);
  assert.deepEqual(await other.alive(lost.vmId), []);
  assert.deepEqual(theirs, []);
});

Deno.test("N13: a VM goes on when the data plane cannot be asked", async () => {
  await using world = new World({
    dryRun: false,
    findImage: () => Promise.resolve(IMAGE),
    manager: SET_UP_MANAGER,
    networkOf: () => IDLE_NETWORK,
    guestStats: () => Promise.reject(new Error("Closed")),
  });
  const borrower = world.borrower("192.168.2.7");
  const { vmId } = await borrower.request();
  world.now += 10 * MINUTE;
  await world.lender.endOverdue();
  assert.equal(world.lender.list()[0]?.id, vmId);
  world.now += 1;
  await world.lender.endOverdue();
  assert.match(world.events(), /no word from its borrower for 10 minutes/, "other rules hold");
});
/** Keeps what was drawn at random, as the arrays that the program goes on to use. */
function watchRandom():
  & { readonly drawn: Uint8Array[]; readonly copies: Uint8Array[] }
  & Disposable {
  const random = crypto.getRandomValues;
  const [drawn, copies]: [Uint8Array[], Uint8Array[]] = [[], []];
  const watched = <T extends ArrayBufferView | null>(into: T): T => {
    Reflect.apply(random, crypto, [into]);
    if (into instanceof Uint8Array) {
      drawn.push(into);
      copies.push(into.slice());
    }
    return into;
  };
  crypto.getRandomValues = watched as typeof random;
  return { drawn, copies, [Symbol.dispose]: () => crypto.getRandomValues = random };
}

Deno.test("W6: Lender makes keys for each VM that no other has had", async () => {
  await using world = new World();
  const borrower = world.borrower("192.168.2.7");
  const keys = new Set<string>();
  for (let i = 0; i < 10; i++) {
    // The same request, the same address: only the VM is another.
    const { vmId, address, wireguardKey, hostKey } = await borrower.request();
    assert.equal(address, "10.0.0.2");
    for (const key of [vmId, wireguardKey, hostKey]) keys.add(key);
    await borrower.release(vmId);
  }
  assert.equal(keys.size, 30);
});

Deno.test.each(
  [
    { stage: "disk", added: false },
    { stage: "qemu", added: true },
    { stage: "tunnel", added: true },
  ] as const,
)(
  "W6: a start that fails at $stage wipes the guest's key and frees cable, address and room",
  async ({ stage, added }) => {
    const cables: string[] = [];
    let stopped = 0;
    const vm: Pick<Vm, "exited" | "waitFor" | "stop" | "pid"> = {
      exited: new Promise(() => {}),
      waitFor: () => Promise.reject(new Error(`No ${stage}`)),
      stop: () => Promise.resolve(void stopped++),
      pid: undefined,
    };
    await using world = new World({
      dryRun: false,
      findImage: () => Promise.resolve(IMAGE),
      manager: {
        create: async (_, { beforeStart } = {}) => {
          if (stage === "disk") throw new Error("No disk");
          await beforeStart?.(vm as Vm);
          if (stage === "qemu") throw new Error("No qemu");
          return vm as Vm;
        },
        get: () => added ? vm as Vm : undefined,
      },
      networkOf: () => ({
        addGuest: ({ id }) => Promise.resolve(void cables.push(id)),
        removeGuest: (id) => Promise.resolve(void cables.splice(cables.indexOf(id), 1)),
        setUplink: () => assert.fail("nobody moves"),
      }),
    });
    world.rules = { ...world.rules, vms: 1 };
    const borrower = world.borrower("192.168.2.7");
    using random = watchRandom();
    const accepted = await borrower.request();
    await until(() => world.lender.list().length === 0, { what: "the start to fail" });
    const { failure } = await borrower.status(accepted.vmId);
    assert.match(failure?.reason ?? "", new RegExp(`No ${stage}`));
    await until(() => random.drawn.some((key, i) => isWiped(key, random.copies[i], accepted)), {
      what: "the guest's key to be wiped",
    });
    assert.deepEqual(cables, []);
    assert.equal(stopped, added ? 1 : 0);
    // There is room for one only, and its address is the same.
    assert.equal((await borrower.request()).address, accepted.address);
  },
);

Deno.test("W6: Lender wipes the guest's key at once when nothing is started", async () => {
  await using world = new World();
  using random = watchRandom();
  const accepted = await world.borrower("192.168.2.7").request();
  assert.ok(random.drawn.some((key, i) => isWiped(key, random.copies[i], accepted)));
});

/** Whether an array once was the private key of the guest, and holds nothing now. */
function isWiped(now: Uint8Array, drawn: Uint8Array | undefined, accepted: VmAccepted): boolean {
  if (drawn?.length !== 32 || now.some((byte) => byte !== 0)) return false;
  return formatKey(publicKeyOf(drawn)) === accepted.wireguardKey;
}
