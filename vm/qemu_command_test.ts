import assert from "node:assert/strict";
import {
  checkSocketPath,
  escapeComma,
  MAX_SOCKET_PATH,
  qemuArguments,
  qemuPrefix,
  qemuProgram,
  type QemuSpec,
} from "./qemu_command.ts";

const SPEC: QemuSpec = {
  name: "web",
  arch: "x86_64",
  accelerator: "kvm",
  cpus: 2,
  memoryMiB: 1024,
  disk: "/v/disk.img",
  seed: "/v/seed.iso",
  boot: { kind: "kernel", kernel: "/i/vmlinuz", initrd: "/i/initrd", append: "console=ttyS0" },
  consoleSocket: "/v/con.sock",
  qmpSocket: "/v/ctl.sock",
  guestSocket: "/v/guest.sock",
  cableSocket: "/v/cable.sock",
  network: { kind: "cable", mac: "52:54:00:00:00:01" },
  sandbox: true,
};

/** What stands behind each option; an option may come several times. */
function valuesOf(args: readonly string[], option: string): string[] {
  return args.flatMap((arg, i) => arg === option ? [args[i + 1] ?? ""] : []);
}

Deno.test("V1: qemuArguments() writes the whole command line of a lent VM", () => {
  assert.deepEqual(qemuArguments(SPEC), [
    ...["-name", "guest=web"],
    ...["-nodefaults", "-no-user-config", "-display", "none", "-vga", "none"],
    ...["-machine", "q35,graphics=off,vmport=off,hpet=off"],
    ...["-accel", "kvm", "-cpu", "host", "-smp", "2", "-m", "1024M", "-rtc", "base=utc"],
    ...["-sandbox", "on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny"],
    ...["-chardev", "socket,id=qmp,path=/v/ctl.sock,server=on,wait=off"],
    ...["-mon", "chardev=qmp,mode=control"],
    ...["-chardev", "socket,id=console,path=/v/con.sock", "-serial", "chardev:console"],
    "-blockdev",
    '{"driver":"qcow2","node-name":"disk","read-only":false,"discard":"unmap",' +
    '"cache":{"direct":false,"no-flush":true},' +
    '"file":{"driver":"file","filename":"/v/disk.img","read-only":false,"discard":"unmap"}}',
    ...["-device", "virtio-blk-pci,drive=disk"],
    "-blockdev",
    '{"driver":"raw","node-name":"seed","read-only":true,"discard":"unmap",' +
    '"cache":{"direct":false,"no-flush":true},' +
    '"file":{"driver":"file","filename":"/v/seed.iso","read-only":true,"discard":"unmap"}}',
    ...["-device", "virtio-blk-pci,drive=seed"],
    ...["-object", "rng-random,id=random,filename=/dev/urandom"],
    ...["-device", "virtio-rng-pci,rng=random"],
    "-netdev",
    "dgram,id=net,local.type=unix,local.path=/v/guest.sock," +
    "remote.type=unix,remote.path=/v/cable.sock",
    ...["-device", "virtio-net-pci,netdev=net,mac=52:54:00:00:00:01,romfile="],
    ...["-kernel", "/i/vmlinuz", "-initrd", "/i/initrd", "-append", "console=ttyS0"],
  ]);
});

Deno.test("V1: qemuArguments() takes a lean processor under TCG, and no mitigations where it can", () => {
  const translated: QemuSpec = { ...SPEC, accelerator: "tcg", sandbox: false };
  const kernel = qemuArguments(translated);
  assert.deepEqual(valuesOf(kernel, "-accel"), ["tcg"]);
  assert.deepEqual(valuesOf(kernel, "-cpu"), ["Nehalem"]);
  assert.deepEqual(valuesOf(kernel, "-append"), ["console=ttyS0 mitigations=off"]);
  assert.deepEqual(valuesOf(kernel, "-sandbox"), []);
  const disk = qemuArguments({ ...translated, boot: { kind: "disk" } });
  assert.deepEqual(valuesOf(disk, "-cpu"), [
    "max,xsave=off,aes=off,pclmulqdq=off,la57=off,svm=off",
  ]);
});

Deno.test("V1: qemuArguments() boots an aarch64 disk by its firmware on virt", () => {
  const args = qemuArguments({
    ...SPEC,
    arch: "aarch64",
    boot: { kind: "disk" },
    firmware: "/f/QEMU_EFI.fd",
  });
  assert.deepEqual(
    valuesOf(qemuArguments({ ...SPEC, arch: "aarch64", accelerator: "tcg" }), "-cpu"),
    ["max"],
  );
  assert.equal(qemuProgram("aarch64"), "qemu-system-aarch64");
  assert.deepEqual(valuesOf(args, "-machine"), ["virt,gic-version=max"]);
  assert.deepEqual(valuesOf(args, "-bios"), ["/f/QEMU_EFI.fd"]);
  assert.deepEqual(valuesOf(args, "-kernel"), []);
});

Deno.test("V7: qemuArguments() opens one port on loopback and nothing else for direct SSH", () => {
  const args = qemuArguments({ ...SPEC, network: { kind: "user", sshPort: 2222 } });
  assert.deepEqual(valuesOf(args, "-netdev"), [
    "user,id=net,restrict=on,net=192.168.100.0/24,host=192.168.100.1," +
    "hostfwd=tcp:127.0.0.1:2222-192.168.100.2:22",
  ]);
});

Deno.test("V7: qemuArguments() opens one way out and nothing else for reverse SSH", () => {
  const args = qemuArguments({ ...SPEC, cableSocket: "/a,b/c.sock", network: { kind: "reverse" } });
  assert.deepEqual(valuesOf(args, "-netdev"), [
    "user,id=net,restrict=on,net=192.168.100.0/24,host=192.168.100.1," +
    "guestfwd=tcp:192.168.100.9:22-unix:/a,,,,b/c.sock",
  ]);
});

Deno.test("V7: qemuPrefix() has a TAP made in a network namespace of QEMU's own, when asked to", () => {
  const tap = { kind: "tap", mac: "52:54:00:00:00:01", ifname: "omerta-test" } as const;
  assert.deepEqual(qemuPrefix({ ...tap, alone: true }), ["unshare", "--net", "--"]);
  assert.deepEqual(qemuPrefix(tap), []);
  assert.deepEqual(qemuPrefix(SPEC.network), []);
  assert.deepEqual(valuesOf(qemuArguments({ ...SPEC, network: tap }), "-netdev"), [
    "tap,id=net,ifname=omerta-test,script=no,downscript=no,vnet_hdr=off",
  ]);
});

Deno.test("N8: qemuArguments() adds a second card in mode direct, which no port leads in to", () => {
  const natMac = "52:54:01:00:00:01";
  const args = qemuArguments({
    ...SPEC,
    network: { kind: "cable", mac: "52:54:00:00:00:01", natMac },
  });
  const [cable, nat, ...more] = valuesOf(args, "-netdev");
  assert.match(cable ?? "", /^dgram,id=net,/);
  assert.equal(nat, "user,id=nat,net=198.51.100.0/24,ipv6=off");
  assert.deepEqual(more, []);
  assert.ok(args.includes(`virtio-net-pci,netdev=nat,mac=${natMac},romfile=`));
});

Deno.test("N14: qemuArguments() has QEMU make the TAP, without headers that change frames later", () => {
  const mac = "52:54:00:00:64:02";
  const args = qemuArguments({ ...SPEC, network: { kind: "tap", mac, ifname: "om-0123456789ab" } });
  assert.deepEqual(valuesOf(args, "-netdev"), [
    "tap,id=net,ifname=om-0123456789ab,script=no,downscript=no,vnet_hdr=off",
  ]);
  assert.ok(valuesOf(args, "-device").includes(`virtio-net-pci,netdev=net,mac=${mac},romfile=`));
});

Deno.test("qemuArguments() gives no network card when there is no network", () => {
  const args = qemuArguments({ ...SPEC, network: { kind: "none" } });
  assert.deepEqual(valuesOf(args, "-netdev"), []);
  assert.deepEqual(valuesOf(args, "-nic"), ["none"]);
});

Deno.test("qemuArguments() doubles commas, so that a name cannot add an option", () => {
  assert.equal(escapeComma("a,debug-threads=on"), "a,,debug-threads=on");
  const args = qemuArguments({ ...SPEC, name: "a,b", guestSocket: "/a,b/g.sock" });
  assert.deepEqual(valuesOf(args, "-name"), ["guest=a,,b"]);
  assert.match(valuesOf(args, "-netdev")[0] ?? "", /local\.path=\/a,,b\/g\.sock,remote/);
});

Deno.test("checkSocketPath() refuses a path that does not fit into a socket address", () => {
  checkSocketPath("/".padEnd(MAX_SOCKET_PATH, "x"));
  assert.throws(() => checkSocketPath("/".padEnd(MAX_SOCKET_PATH + 1, "x")), {
    code: "path-too-long",
  });
  assert.throws(() => checkSocketPath("/".padEnd(60, "ä")), { code: "path-too-long" });
});
