import assert from "node:assert/strict";
import { join } from "node:path";
import { directNetwork, type NetworkKey } from "../../net/mesh/envelope.ts";
import { Endpoint } from "../../net/os/endpoint.ts";
import { generateIdentity, Identity } from "../core/identity.ts";
import { EventLog } from "../core/log.ts";
import { generateSshKey } from "../core/ssh_key.ts";
import { Control } from "./control.ts";
import { Lender } from "./lender.ts";
import { CHANNEL, VmAccepted, VmList, VmReleased, type VmRequest, VmStatus } from "./messages.ts";
import type { z } from "zod";

const KEY = "09".repeat(32);
const OTHER_KEY = "08".repeat(32);
const MINUTE = 60_000;

/** A lender whose VMs are never started, under a fake clock, and the borrowers that talk to it. */
class World implements AsyncDisposable {
  now = Date.parse("2026-01-01");
  readonly lender: Lender;
  readonly #folder = Deno.makeTempDirSync();
  readonly #events = new EventLog(this.#folder);
  readonly #lenderControl: Control;
  readonly #borrowers = new Map<string, Control>();
  readonly #network = directNetwork(Uint8Array.fromHex(KEY));
  readonly #otherNetwork = directNetwork(Uint8Array.fromHex(OTHER_KEY));

  constructor() {
    this.#lenderControl = new Control({
      identity: new Identity(generateIdentity(0)),
      networks: () => [this.#network, this.#otherNetwork],
      send: (datagram, to) =>
        queueMicrotask(() => this.#borrowers.get(to.address)?.receive(datagram, LENDER)),
      now: () => this.now,
    });
    this.lender = new Lender({
      control: this.#lenderControl,
      plane: {
        addGuest: () => assert.fail("nothing is started"),
        removeGuest: () => assert.fail("nothing is started"),
        setUplink: () => assert.fail("nothing is started"),
      },
      manager: { create: () => assert.fail("nothing is started"), get: () => undefined },
      findImage: () => assert.fail("no image is needed"),
      accelerator: "tcg",
      capacity: { cpus: 4, memoryMiB: 4096, diskGiB: 40, vms: 3 },
      localKey: KEY,
      dryRun: true,
      events: this.#events,
      now: () => this.now,
    });
  }

  borrower(address: string, network = this.#network): Borrower {
    const from = endpoint(address);
    const control = new Control({
      identity: new Identity(generateIdentity(0)),
      networks: () => [network],
      send: (datagram) => queueMicrotask(() => this.#lenderControl.receive(datagram, from)),
      now: () => this.now,
    });
    this.#borrowers.set(address, control);
    return new Borrower(control, network);
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

const SSH_KEY = generateSshKey("borrower").publicLine;
const LENDER = endpoint("192.168.1.100");

function endpoint(address: string): Endpoint {
  const made = Endpoint.of(address, 51820);
  assert.ok(made);
  return made;
}

class Borrower {
  constructor(readonly control: Control, readonly network: NetworkKey) {}

  #ask<T>(channel: string, body: unknown, answer: z.ZodType<T>): Promise<T> {
    return this.control.ask({ channel, body, answer, to: LENDER, network: this.network })
      .then((asked) => asked.body);
  }

  request(changes: Partial<VmRequest> = {}): Promise<VmAccepted> {
    const request = { name: "web", cpus: 1, memoryMiB: 1024, diskGiB: 10, sshKey: SSH_KEY };
    const body = { ...request, taken: [], dryRun: false, ...changes };
    return this.#ask(CHANNEL.request, body, VmAccepted);
  }

  status(vmId: string): Promise<VmStatus> {
    return this.#ask(CHANNEL.status, { vmId, seen: [] }, VmStatus);
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
