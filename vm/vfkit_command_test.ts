import assert from "node:assert/strict";
import { consoleOnHvc0, vfkitArguments, type VfkitSpec } from "./vfkit_command.ts";

const SPEC: VfkitSpec = {
  cpus: 2,
  memoryMiB: 1024,
  boot: {
    ...{ kind: "kernel", kernel: "/i/vmlinuz", initrd: "/i/initrd" },
    append: "root=/dev/vda ro console=ttyAMA0",
  },
  variableStore: "/v/efi",
  restSocket: "/v/ctl.sock",
  devices: [
    { kind: "virtio-blk", path: "/v/disk.img" },
    { kind: "virtio-serial", logFilePath: "/v/serial.log" },
    { kind: "virtio-rng" },
    { kind: "virtio-net", unixSocketPath: "/v/cable.sock", mac: "52:54:00:00:00:01" },
  ],
};

Deno.test("V2: vfkitArguments() writes the whole command line", () => {
  assert.deepEqual(vfkitArguments(SPEC), [
    ...["--cpus", "2", "--memory", "1024", "--restful-uri", "unix:///v/ctl.sock"],
    "--bootloader",
    'linux,kernel=/i/vmlinuz,initrd=/i/initrd,cmdline="root=/dev/vda ro console=hvc0"',
    ...["--device", "virtio-blk,path=/v/disk.img"],
    ...["--device", "virtio-serial,logFilePath=/v/serial.log"],
    ...["--device", "virtio-rng"],
    ...["--device", "virtio-net,unixSocketPath=/v/cable.sock,mac=52:54:00:00:00:01"],
  ]);
});

Deno.test("N8: vfkitArguments() writes a second card behind macOS", () => {
  const args = vfkitArguments({
    ...SPEC,
    devices: [{ kind: "virtio-nat", mac: "52:54:01:00:00:01" }],
  });
  assert.equal(args[args.indexOf("--device") + 1], "virtio-net,nat,mac=52:54:01:00:00:01");
});

Deno.test("V2: vfkitArguments() boots a disk by EFI", () => {
  const args = vfkitArguments({ ...SPEC, boot: { kind: "disk" } });
  assert.equal(args[args.indexOf("--bootloader") + 1], "efi,variable-store=/v/efi,create");
});

Deno.test("vfkitArguments() refuses what it cannot escape", () => {
  assert.throws(() => vfkitArguments({ ...SPEC, restSocket: "/a,b/ctl.sock" }), {
    code: "bad-path",
  });
});

Deno.test("consoleOnHvc0() replaces every console", () => {
  assert.equal(consoleOnHvc0("console=tty0 ro  console=ttyS0 quiet"), "ro quiet console=hvc0");
});
