import assert from "node:assert/strict";
import { OmertaError } from "../lib/core/errors.ts";
import { checkRoom, type HostRoom } from "./_room.ts";
import type { MachineSpec } from "./hypervisor.ts";
import { findRequirements, programMissing, readVersion } from "./requirements.ts";

const SPEC: MachineSpec = {
  name: "web",
  cpus: 1,
  memoryMiB: 512,
  diskGiB: 4,
  image: {
    id: "0123456789abcdef",
    name: "debian",
    arch: "x86_64",
    disk: "/i/disk.qcow2",
    virtualSizeMiB: 3072,
    boot: { kind: "disk" },
    created: "2026-01-01T00:00:00Z",
  },
  network: { kind: "none" },
};
const ROOM: HostRoom = { cpus: 2, memoryMiB: 2048, diskMiB: 8192 };

Deno.test("checkRoom() takes a VM that fits", () => {
  checkRoom(SPEC, ROOM);
});

Deno.test.each<{ change: Partial<MachineSpec>; want: string }>([
  { change: { cpus: 0 }, want: "0 processors, need 1 to 2" },
  { change: { cpus: 3 }, want: "3 processors, need 1 to 2" },
  { change: { cpus: 1.5 }, want: "1.5 processors, need 1 to 2" },
  { change: { memoryMiB: 96 }, want: "memory is 96 MiB, need at least 256 MiB" },
  { change: { memoryMiB: 4096 }, want: "memory is 4096 MiB, this host has 2048 MiB free" },
  { change: { diskGiB: 2 }, want: "disk is 2 GiB, need at least 3 GiB for the image" },
  { change: { diskGiB: 9 }, want: "disk is 9 GiB, this host has 8 GiB free" },
  { change: { diskGiB: NaN }, want: "disk is NaN GiB, need at least 3 GiB for the image" },
])("checkRoom() refuses: $want", ({ change, want }) => {
  assert.throws(() => checkRoom({ ...SPEC, ...change }, ROOM), {
    message: `Cannot create VM "web": ${want}`,
  });
});

Deno.test.each([
  { text: "QEMU emulator version 7.2.22 (Debian 1:7.2)", want: "7.2.22" },
  { text: "OpenSSH_9.2p1 Debian-2+deb12u3, OpenSSL 3.0", want: "9.2p1" },
  { text: "nftables v1.0.6 (Lester Gooch #5)", want: "1.0.6" },
  { text: "ip utility, iproute2-6.1.0, libbpf 1.1.0", want: "6.1.0" },
  { text: "unknown\nmore", want: "unknown" },
])("readVersion() finds $want", ({ text, want }) => {
  assert.equal(readVersion(text), want);
});

Deno.test("findRequirements() says for each what it is for and how to get what is missing", async () => {
  const found = await findRequirements("/nowhere/accelerator", ".");
  assert.deepEqual(
    ["qemu", "qemu-img", "ssh"].map((name) => found.find((r) => r.name === name)?.needed),
    ["required", "required", "required"],
  );
  for (const requirement of found) {
    assert.notEqual(requirement.purpose, "");
    if (requirement.found === undefined) assert.notEqual(requirement.get ?? "", "");
  }
});

Deno.test("programMissing() says how to get QEMU, with exit code 3", () => {
  const error = programMissing(
    new OmertaError("program-missing", "Cannot run qemu-img: it is not installed"),
    "qemu-img",
  );
  assert.ok(error instanceof OmertaError);
  assert.equal(error.code, "qemu-img-missing");
  assert.equal(error.exit, 3);
  assert.match(error.next ?? "", /qemu/);
  const other = new Error("Other");
  assert.equal(programMissing(other, "qemu"), other);
});
