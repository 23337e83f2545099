import assert from "node:assert/strict";
import { MemoryDatagramSink, MemoryPacketSink } from "../../tests/doubles/memory_sink.ts";
import { EndpointAllowlist } from "../../net/filter/allowlist.ts";
import { FilteredNat } from "../../net/filter/filtered_nat.ts";
import { guestLink } from "../../net/filter/guest_link.ts";
import { rehearse } from "../../net/filter/rehearsal.ts";
import { FILTER_MODES, type FilterMode, strategyOf } from "../../net/filter/strategy.ts";
import { Endpoint } from "../../net/os/endpoint.ts";
import { parseMac } from "../../net/wire/ethernet.ts";
import { OmertaError } from "../core/errors.ts";
import type { VmId } from "../core/ids.ts";
import { guestMac } from "../node/vm_for_lease.ts";
import { ATTEMPTS } from "./attempts.ts";
import { type HostAddress, proveByFrames, type Rehearsed, sceneOf } from "./frame_proof.ts";
import { isHeld, type Proof } from "./report.ts";

const VM = { id: "0123456789abcdef", mode: "filtered", endpoint: "198.51.100.7:40001" } as const;
const ADDRESSES: readonly HostAddress[] = [
  {
    name: "lo",
    family: "IPv4",
    address: "127.0.0.1",
    netmask: "255.0.0.0",
    mac: "52:54:00:0a:00:01",
  },
  {
    name: "eth0",
    family: "IPv4",
    address: "172.20.4.9",
    netmask: "255.255.252.0",
    mac: "52:54:00:0a:00:01",
  },
  {
    name: "wg0",
    family: "IPv4",
    address: "10.9.0.1",
    netmask: "255.255.255.0",
    mac: "52:54:00:0a:00:01",
  },
  {
    name: "eth0",
    family: "IPv6",
    address: "fe80::1",
    netmask: "ffff:ffff:ffff:ffff::",
    mac: "52:54:00:0a:00:01",
  },
];
const OPTIONS = { only: [], addresses: ADDRESSES, port: 51820 };

/** Asks a real filter, as the daemon would. */
function clientOf(mode: FilterMode): {
  rehearse: (id: string, frames: readonly Uint8Array[]) => Promise<Rehearsed[]>;
} {
  const nat = new FilteredNat({
    guest: guestLink({ guestMac: parseMac(guestMac(VM.id as VmId)) ?? 0 }),
    uplink: Endpoint.of("198.51.100.7", 40_001),
    toUplink: new MemoryDatagramSink(),
    toGuest: new MemoryPacketSink(),
    strategy: strategyOf(mode),
  });
  return { rehearse: (_, frames) => Promise.resolve(rehearse(nat, frames)) };
}

function leaked(proof: Proof): string[] {
  return proof.rows.filter(({ outcome }) => outcome === "leaked").map(({ id }) => id);
}

for (const mode of FILTER_MODES) {
  Deno.test(`N15: proveByFrames() holds for a filter in mode ${mode}`, async () => {
    const proof = await proveByFrames(clientOf(mode), { ...VM, mode }, OPTIONS);
    assert.deepEqual(proof.rows.filter(({ outcome }) => outcome !== "held"), []);
    assert.equal(proof.rows.length, ATTEMPTS.length + 2);
    assert.equal(isHeld({ proofs: [proof] }), true);
  });
}

Deno.test("N15: proveByFrames() finds a filter that takes any port for the tunnel's", async () => {
  const { has } = EndpointAllowlist.prototype;
  EndpointAllowlist.prototype.has = (): boolean => true;
  try {
    const proof = await proveByFrames(clientOf("filtered"), VM, OPTIONS);
    assert.deepEqual(leaked(proof), ["host-gateway", "host-daemon", "wrong-port"]);
    assert.equal(isHeld({ proofs: [proof] }), false);
  } finally {
    EndpointAllowlist.prototype.has = has;
  }
});

Deno.test("N15: proveByFrames() does not hold when what has to pass does not", async () => {
  const { has } = EndpointAllowlist.prototype;
  EndpointAllowlist.prototype.has = (): boolean => false;
  try {
    const { rows } = await proveByFrames(clientOf("filtered"), VM, { ...OPTIONS, only: ["arp"] });
    assert.deepEqual(rows.map(({ id, outcome }) => `${id} ${outcome}`), [
      "arp held",
      "tunnel unproven",
      "arp-strangers held",
      "arp-gratuitous held",
    ]);
  } finally {
    EndpointAllowlist.prototype.has = has;
  }
});

Deno.test("N15: proveByFrames() says that a VM without a filter is not sealed", async () => {
  const client = {
    rehearse: (): Promise<Rehearsed[]> =>
      Promise.reject(new OmertaError("no-such-guest", "Cannot find guest 1")),
  };
  const proof = await proveByFrames(client, VM, OPTIONS);
  assert.deepEqual(leaked(proof), ["sealed"]);
});

Deno.test("N15: proveByFrames() says that a VM in mode direct is not sealed, whatever its cable's filter says", async () => {
  const client = { rehearse: () => assert.fail("that filter is not in question") };
  assert.deepEqual(leaked(await proveByFrames(client, { ...VM, mode: "direct" }, OPTIONS)), [
    "sealed",
  ]);
});

Deno.test("sceneOf() knows every address of the host, and its network's neighbour and router", () => {
  const scene = sceneOf(VM, ADDRESSES, 4000);
  assert.deepEqual(Object.values(scene.host).sort(), [
    ...["10.9.0.1", "127.0.0.1", "127.0.0.1", "172.20.4.9", "172.20.4.9", "192.168.100.1"],
  ]);
  assert.deepEqual(
    [scene.host["uplink"], scene.neighbour, scene.router, scene.broadcast, scene.host6],
    ["172.20.4.9", "172.20.4.8", "172.20.4.1", "172.20.7.255", ["fe80::1"]],
  );
  // Neither an IPv6 borrower nor a host without a network stops it.
  assert.equal(sceneOf({ ...VM, endpoint: "[2001:db8::1]:9" }, [], 1).borrower.port, 9);
});
