import assert from "node:assert/strict";
import type { PlanePeerStats } from "../../net/plane/plane.ts";
import type { BorrowedVm } from "./lease_store.ts";
import type { LentVm } from "./lease.ts";
import { tunnelsOf, type TunnelSources } from "./tunnels.ts";

const KEY = `${"A".repeat(42)}E=`;
const NOW = 1_000_000;

const vm: BorrowedVm = {
  ...{ id: "0123456789abcdef", name: "web", host: "192.168.1.100", address: "10.0.0.2" },
  ...{ machine: "ab".repeat(32), network: "cd".repeat(32), wireguardKey: KEY },
  ...{ endpoint: { address: "192.168.1.100", port: 51820 }, hostKey: "ssh-ed25519 AAAA web" },
  ...{ since: 1, readyAt: 2, mode: "filtered", dryRun: false },
};

const peer = (lastHandshakeMs: number | undefined): PlanePeerStats => ({
  ...{ publicKey: KEY, endpoint: "192.168.1.100:51820", allowedIps: ["10.0.0.2/32"] },
  ...{ keepaliveSeconds: 15, rxBytes: 300, txBytes: 200, lastHandshakeMs },
});

type Counted = TunnelSources["plane"];

const plane = (some: Partial<Counted>): Counted => ({
  ...{ peers: [], guests: [], relays: [], ...some },
});

Deno.test.each([
  { last: undefined, state: "no-handshake" },
  { last: NOW - 180_000, state: "up" },
  { last: NOW - 180_001, state: "stale" },
])(
  "W5: tunnelsOf() says $state of a tunnel whose last handshake was at $last",
  ({ last, state }) => {
    const status = { borrowed: [vm], lending: undefined, plane: plane({ peers: [peer(last)] }) };
    const [tunnel, ...others] = tunnelsOf(status, NOW);
    assert.equal(others.length, 0);
    assert.deepEqual([tunnel?.state, tunnel?.fromVm, tunnel?.toVm], [state, 300, 200]);
    assert.deepEqual([tunnel?.localAddress, tunnel?.keepaliveSeconds], ["10.0.0.1", 15]);
  },
);

Deno.test("W5: tunnelsOf() shows a dry run without a tunnel, and a client's own counters", () => {
  const client = { publicKey: KEY, port: 21_821, address: "10.0.255.1" };
  const server = {
    ...{ id: `${vm.id}/server`, client: "10.0.0.2:21820", uplink: "203.0.113.5:51820" },
    ...{ bytesToUplink: 3, bytesToClient: 4 },
  };
  const relay = {
    ...{ id: `${vm.id}/client`, client: "127.0.0.1:21821", uplink: "192.168.1.100:51820" },
    ...{ bytesToUplink: 7, bytesToClient: 9 },
  };
  const borrowed = [{ ...vm, client }, {
    ...vm,
    id: "f".repeat(16),
    dryRun: true,
    wireguardKey: "",
  }];
  const status = {
    borrowed,
    lending: undefined,
    plane: plane({ peers: [peer(1)], relays: [relay, server] }),
  };
  const [first, second] = tunnelsOf(status, NOW);
  assert.deepEqual(first?.server, { endpoint: "203.0.113.5:51820", fromVm: 3, toVm: 4 });
  assert.deepEqual(first?.client, { address: "10.0.255.1", port: 21_821, fromVm: 9, toVm: 7 });
  assert.deepEqual([second?.state, second?.client, second?.endpoint], [
    "dry-run",
    undefined,
    undefined,
  ]);
});

Deno.test("W5: tunnelsOf() shows what is lent as carried, with what passes each way", () => {
  const lent: LentVm = {
    ...{
      id: "0123456789abcdef" as LentVm["id"],
      name: "web",
      borrower: "aa" as LentVm["borrower"],
    },
    ...{ endpoint: "192.168.2.7:40000", address: "10.0.0.2", stage: "ready", since: 1 },
    ...{ expires: undefined, mode: "filtered", dryRun: false, cpus: 1, memoryMiB: 1, diskGiB: 1 },
  };
  const guest = {
    ...{ id: lent.id, uplink: "192.168.2.7:40001", bytesToUplink: 5, bytesToGuest: 6 },
  };
  const lending = { vms: [lent] };
  const [tunnel] = tunnelsOf({ borrowed: [], lending, plane: plane({ guests: [guest] }) }, NOW);
  assert.deepEqual(
    [tunnel?.role, tunnel?.state, tunnel?.endpoint, tunnel?.fromVm, tunnel?.toVm],
    ["lent", "carried", "192.168.2.7:40001", 5, 6],
  );
  assert.deepEqual([tunnel?.lastHandshakeMs, tunnel?.localAddress], [undefined, undefined]);
});
