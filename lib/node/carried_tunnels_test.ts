import assert from "node:assert/strict";
import { join } from "node:path";
import { Endpoint } from "../../net/os/endpoint.ts";
import type { PlaneRelay } from "../../net/plane/plane.ts";
import { CarriedTunnels } from "./carried_tunnels.ts";
import { type BorrowedVm, LeaseStore } from "./lease_store.ts";
import { CLIENT_HOSTS, hostOf } from "./tunnel_addresses.ts";

const KEY = `${"A".repeat(43)}=`;
const OTHER_KEY = `${"B".repeat(42)}A=`;

/** What is not as it is with a VM that runs. */
interface Changes {
  readonly dryRun?: boolean;
  readonly starts?: boolean;
}

const vm = (i: number, changes: Changes = {}): BorrowedVm => ({
  id: i.toString(16).padStart(16, "0"),
  name: `vm${i}`,
  host: "192.168.1.100",
  endpoint: { address: "192.168.1.100", port: 51820 },
  machine: "ab".repeat(32),
  network: "cd".repeat(32),
  address: `10.0.${i >> 8}.${i & 255}`,
  wireguardKey: KEY,
  hostKey: "ssh-ed25519 AAAA web",
  since: 1,
  ...(changes.starts ? {} : { readyAt: 2 }),
  mode: "filtered",
  dryRun: changes.dryRun ?? false,
});

/** What is carried, on a plane that only keeps a list. */
async function world(
  vms: readonly BorrowedVm[],
  body: (world: {
    leases: LeaseStore;
    carried: CarriedTunnels;
    relays: Map<string, PlaneRelay>;
    path: string;
  }) => Promise<void>,
): Promise<void> {
  const folder = await Deno.makeTempDir();
  try {
    const path = join(folder, "leases.json");
    const leases = await LeaseStore.load(path);
    for (const one of vms) await leases.put(one);
    const relays = new Map<string, PlaneRelay>();
    const carried = new CarriedTunnels({
      addRelay: (relay) => Promise.resolve(void relays.set(relay.id, relay)),
      removeRelay: (id) => Promise.resolve(void relays.delete(id)),
    }, leases);
    await body({ leases, carried, relays, path });
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
}

const shown = (relays: Map<string, PlaneRelay>): string[] =>
  [...relays.values()].map(({ client, uplink }) => `${client} ${uplink}`);

Deno.test("W6: setClient() gives each client an address of its own, and a freed one again", () =>
  world([vm(2), vm(3), vm(4)], async ({ carried, leases }) => {
    const give = async (name: string): Promise<string> =>
      (await carried.setClient(name, { publicKey: KEY, port: 21_821 })).client.address;
    assert.deepEqual([await give("vm2"), await give("vm3")], ["10.0.255.1", "10.0.255.2"]);
    assert.equal(await give("vm2"), "10.0.255.1", "its own stays");
    assert.equal(await carried.removeClient("vm2"), true);
    assert.equal(await carried.removeClient("vm2"), false);
    assert.equal(await give("vm4"), "10.0.255.1");
    await leases.remove(vm(3).id);
    assert.equal(await give("vm2"), "10.0.255.2");
    assert.equal(hostOf("10.0.255.1"), undefined, "no lender may give it to a VM");
  }));

Deno.test("W6: setClient() refuses one more than there are addresses", async () => {
  const vms = Array.from({ length: CLIENT_HOSTS + 1 }, (_, i) => vm(i + 2));
  await world(vms, async ({ carried }) => {
    for (const { id } of vms.slice(1)) {
      await carried.setClient(id, { publicKey: KEY, port: 1 });
    }
    await assert.rejects(carried.setClient("vm2", { publicKey: KEY, port: 1 }), {
      code: "too-many-clients",
    });
  });
});

Deno.test("W5: setClient() and setServer() carry between the two ends and nobody else", () =>
  world([vm(2)], async ({ carried, relays }) => {
    await carried.setClient("vm2", { publicKey: KEY, port: 21_821 });
    await carried.setClient("vm2", { publicKey: OTHER_KEY, port: 21_822 });
    const endpoint = Endpoint.of("203.0.113.5", 51820);
    assert.ok(endpoint);
    await carried.setServer("vm2", { publicKey: KEY, port: 21_820, endpoint });
    assert.deepEqual(shown(relays), [
      "127.0.0.1:21822 192.168.1.100:51820",
      "10.0.0.2:21820 203.0.113.5:51820",
    ]);
  }));

Deno.test("W6: gone() leaves nothing carried, and a restart carries the client again", () =>
  world([vm(2)], async ({ carried, leases, relays, path }) => {
    const after = await carried.setClient("vm2", { publicKey: KEY, port: 21_821 });
    relays.clear();
    const [again] = (await LeaseStore.load(path)).list();
    assert.ok(again);
    await carried.resume(again);
    assert.deepEqual(shown(relays), ["127.0.0.1:21821 192.168.1.100:51820"]);
    await leases.remove(after.id);
    await carried.gone(after);
    assert.deepEqual(shown(relays), []);
    assert.deepEqual((await LeaseStore.load(path)).list(), []);
  }));

Deno.test("W6: a VM that is given back while a tunnel is set up gets none", () =>
  world([vm(2)], async ({ carried, leases, relays }) => {
    const refused = assert.rejects(carried.setClient("vm2", { publicKey: KEY, port: 21_821 }), {
      code: "unknown-vm",
    });
    await leases.remove(vm(2).id);
    await carried.gone(vm(2));
    await refused;
    assert.deepEqual(shown(relays), []);
    assert.deepEqual(leases.list(), []);
  }));

Deno.test.each([
  { code: "dry-run", changes: { dryRun: true } },
  { code: "not-ready", changes: { starts: true } },
])(
  "W5: setClient() refuses a VM without a tunnel: $code",
  ({ code, changes }) =>
    world([vm(2, changes)], async ({ carried, relays }) => {
      await assert.rejects(carried.setClient("vm2", { publicKey: KEY, port: 1 }), { code });
      assert.equal(relays.size, 0);
    }),
);
