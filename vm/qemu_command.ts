/**
 * The command line of QEMU for one VM: pure, from typed data to arguments.
 *
 * The machine has nothing but what is listed here (`-nodefaults -no-user-config`): processors,
 * memory, a disk, the seed, a serial console, a random number source and at most one network card,
 * or two in mode direct.
 * QEMU itself may start no program and change no rights (`-sandbox`).
 *
 * ```
 * disk     qcow2 overlay, virtio-blk, discarded blocks go back to the host
 * seed     ISO 9660 labelled cidata, virtio-blk, read-only
 * console  serial port, to our socket
 * qmp      QEMU listens
 * network  cable: one Ethernet frame per unix datagram, in mode direct with a second card behind it
 *          | user: one forwarded port | reverse: one way out | tap | none
 * ```
 *
 * @see {@link https://www.qemu.org/docs/master/system/invocation.html | QEMU invocation}
 * @module
 */

import { OmertaError } from "../lib/core/errors.ts";
import type { Accelerator, Arch } from "./accelerator.ts";
import type { ImageBoot } from "./image/image.ts";

/** Longest path of a unix socket, in bytes: `sun_path` holds 108 with its final zero, 104 on macOS. */
export const MAX_SOCKET_PATH = Deno.build.os === "darwin" ? 103 : 107;

/** Forbids QEMU to use old system calls, to gain rights, to start programs, to set its priority. */
export const SANDBOX = "on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny";

/**
 * Hardware address of the guest in QEMU's own network. It has the same static address there as on
 * the cable, so that both are set up by the same seed.
 */
export const USER_MAC = "52:54:00:12:34:56";

/**
 * Processors under TCG, chosen by what a Debian guest needs of the host's time until it has set
 * itself up (x86_64): `max` 27 s; without wide registers, and without what has its kernel load
 * modules and test them, 25 s; a small processor whose kernel leaves out its mitigations, 22 s.
 * Those guard against the speculation of a real processor; a kernel that we start can be told that
 * it has none, one that starts from its disk cannot.
 */
const TRANSLATED_CPU = {
  kernel: { x86_64: "Nehalem", aarch64: "max" },
  disk: { x86_64: "max,xsave=off,aes=off,pclmulqdq=off,la57=off,svm=off", aarch64: "max" },
} as const;
const NO_MITIGATIONS = " mitigations=off";

/**
 * The network of the second card of a guest in mode direct, where the hypervisor is a router that
 * translates addresses: TEST-NET-2 (RFC 5737), which nobody has, so that no host is hidden by it.
 * `.2` is the router, `.3` the name server; the guest gets its address by DHCP.
 */
export const NAT_NETWORK = "198.51.100.0/24";

/** Where a guest on network `reverse` reaches our socket; nothing else answers it. */
export const REVERSE_HOST = "192.168.100.9";
/** Port of {@link REVERSE_HOST}. */
export const REVERSE_PORT = 22;

/** How the guest is connected. */
export type VmNetwork =
  | {
    /** One Ethernet frame per datagram, between QEMU's socket and ours. */
    readonly kind: "cable";
    /** Hardware address of the guest, `52:54:00:..`. */
    readonly mac: string;
    /**
     * Hardware address of a second card, on which the guest reaches whatever this host reaches;
     * none without.
     */
    readonly natMac?: string;
  }
  | {
    /** QEMU's own network, closed but for one port: 127.0.0.1:sshPort to port 22 of the guest. */
    readonly kind: "user";
    /** Port on 127.0.0.1. */
    readonly sshPort: number;
  }
  | {
    /**
     * An interface of the host that QEMU makes, needs root for and takes away with itself. It is down
     * until somebody brings it up: what guards it is put in place before that.
     */
    readonly kind: "tap";
    /** Hardware address of the guest, `52:54:00:..`. */
    readonly mac: string;
    /** Name of the interface, at most 15 bytes. */
    readonly ifname: string;
    /**
     * Starts QEMU in a network namespace of its own, which goes when QEMU goes: the interface is
     * in there, and nothing of the host is.
     */
    readonly alone?: boolean;
  }
  | {
    /**
     * QEMU's own network, closed but for one way out: what the guest sends to {@link REVERSE_HOST}
     * comes out of our cable socket, on which we listen for a stream before QEMU is started.
     */
    readonly kind: "reverse";
  }
  | {
    /** No network card. */
    readonly kind: "none";
  };

/** Everything QEMU needs to know about one VM. Paths are absolute. */
export interface QemuSpec {
  /** Shown in the process list. */
  readonly name: string;
  /** Processor of the guest. */
  readonly arch: Arch;
  /** What runs its instructions. */
  readonly accelerator: Accelerator;
  /** Number of processors. */
  readonly cpus: number;
  /** Memory in MiB. */
  readonly memoryMiB: number;
  /** The qcow2 overlay. */
  readonly disk: string;
  /** The seed ISO. */
  readonly seed: string;
  /** What starts the guest. */
  readonly boot: ImageBoot;
  /** UEFI firmware for an aarch64 guest that boots from its disk. */
  readonly firmware?: string;
  /** Socket on which we listen for the serial console. */
  readonly consoleSocket: string;
  /** Socket on which QEMU listens for QMP. */
  readonly qmpSocket: string;
  /** QEMU's end of the cable. */
  readonly guestSocket: string;
  /** Our end of the cable. */
  readonly cableSocket: string;
  /** The guest's network. */
  readonly network: VmNetwork;
  /** Whether this QEMU can lock itself in (seccomp, Linux only). */
  readonly sandbox: boolean;
}

/** The program that runs guests of `arch`. */
export function qemuProgram(arch: Arch): string {
  return `qemu-system-${arch}`;
}

/** What comes before QEMU and its arguments; it ends by becoming QEMU, as the same process. */
export function qemuPrefix(network: VmNetwork): readonly string[] {
  return network.kind === "tap" && network.alone === true ? ["unshare", "--net", "--"] : [];
}

/**
 * Arguments of {@link qemuProgram} for `spec`.
 *
 * @throws {OmertaError} `path-too-long` when a socket's path does not fit.
 */
export function qemuArguments(spec: QemuSpec): string[] {
  const arm = spec.arch === "aarch64";
  const translated = spec.accelerator === "tcg";
  const args = [
    ...["-name", `guest=${escapeComma(spec.name)}`],
    ...["-nodefaults", "-no-user-config", "-display", "none", "-vga", "none"],
    // graphics=off sends what the firmware and the boot loader say to the serial port.
    ...["-machine", arm ? "virt,gic-version=max" : "q35,graphics=off,vmport=off,hpet=off"],
    ...["-accel", spec.accelerator],
    ...["-cpu", translated ? TRANSLATED_CPU[spec.boot.kind][spec.arch] : "host"],
    ...["-smp", `${spec.cpus}`],
    ...["-m", `${spec.memoryMiB}M`],
    ...["-rtc", "base=utc"],
  ];
  if (spec.sandbox) args.push("-sandbox", SANDBOX);
  args.push(
    ...["-chardev", `socket,id=qmp,path=${socketPath(spec.qmpSocket)},server=on,wait=off`],
    ...["-mon", "chardev=qmp,mode=control"],
    ...["-chardev", `socket,id=console,path=${socketPath(spec.consoleSocket)}`],
    ...["-serial", "chardev:console"],
    ...disk("disk", "qcow2", spec.disk, false),
    ...disk("seed", "raw", spec.seed, true),
    ...["-object", "rng-random,id=random,filename=/dev/urandom"],
    ...["-device", "virtio-rng-pci,rng=random"],
    ...network(spec),
  );
  if (spec.boot.kind === "kernel") {
    args.push("-kernel", spec.boot.kernel, "-initrd", spec.boot.initrd);
    args.push("-append", spec.boot.append + (translated ? NO_MITIGATIONS : ""));
  } else if (spec.firmware !== undefined) {
    args.push("-bios", spec.firmware);
  }
  return args;
}

/** JSON, because only that form needs no escaping of names. */
function disk(id: string, driver: string, filename: string, readOnly: boolean): string[] {
  const node = {
    driver,
    "node-name": id,
    "read-only": readOnly,
    discard: "unmap",
    // The overlay does not outlive the VM: nothing is gained by waiting for the host's disk.
    cache: { direct: false, "no-flush": true },
    file: { driver: "file", filename, "read-only": readOnly, discard: "unmap" },
  };
  return ["-blockdev", JSON.stringify(node), "-device", `virtio-blk-pci,drive=${id}`];
}

function network(spec: QemuSpec): string[] {
  switch (spec.network.kind) {
    case "none":
      return ["-nic", "none"];
    case "user":
      return [
        "-netdev",
        "user,id=net,restrict=on,net=192.168.100.0/24,host=192.168.100.1," +
        `hostfwd=tcp:127.0.0.1:${spec.network.sshPort}-192.168.100.2:22`,
        "-device",
        `virtio-net-pci,netdev=net,mac=${USER_MAC},romfile=`,
      ];
    case "reverse": {
      const way = `tcp:${REVERSE_HOST}:${REVERSE_PORT}`;
      // The name of the device is an option list again, inside of one.
      const socket = escapeComma(socketPath(spec.cableSocket));
      return [
        "-netdev",
        "user,id=net,restrict=on,net=192.168.100.0/24,host=192.168.100.1," +
        `guestfwd=${way}-unix:${socket}`,
        "-device",
        `virtio-net-pci,netdev=net,mac=${USER_MAC},romfile=`,
      ];
    }
    case "tap":
      return [
        "-netdev",
        // Without a virtio header a guest cannot have the kernel change a frame that was judged.
        `tap,id=net,ifname=${escapeComma(spec.network.ifname)},script=no,downscript=no,` +
        "vnet_hdr=off",
        "-device",
        `virtio-net-pci,netdev=net,mac=${spec.network.mac},romfile=`,
      ];
    case "cable": {
      const local = socketPath(spec.guestSocket);
      const remote = socketPath(spec.cableSocket);
      return [
        "-netdev",
        `dgram,id=net,local.type=unix,local.path=${local},remote.type=unix,remote.path=${remote}`,
        "-device",
        `virtio-net-pci,netdev=net,mac=${spec.network.mac},romfile=`,
        ...(spec.network.natMac === undefined ? [] : nat(spec.network.natMac)),
      ];
    }
  }
}

/** The second card: no port of the host leads in, and IPv6 stays on the cable, where it is refused. */
function nat(mac: string): string[] {
  return [
    "-netdev",
    `user,id=nat,net=${NAT_NETWORK},ipv6=off`,
    "-device",
    `virtio-net-pci,netdev=nat,mac=${mac},romfile=`,
  ];
}

/** Doubles commas, which separate options in QEMU's syntax. */
export function escapeComma(text: string): string {
  return text.replaceAll(",", ",,");
}

/** A socket's path in QEMU's syntax. */
function socketPath(path: string): string {
  checkSocketPath(path);
  return escapeComma(path);
}

/**
 * Checks that a unix socket can be bound at `path`.
 *
 * @throws {OmertaError} `path-too-long`.
 */
export function checkSocketPath(path: string): void {
  const bytes = new TextEncoder().encode(path).length;
  if (bytes <= MAX_SOCKET_PATH) return;
  throw new OmertaError(
    "path-too-long",
    `Cannot use ${path} as a socket: its path has ${bytes} bytes, want at most ${MAX_SOCKET_PATH}`,
    { next: "Set OMERTA_HOME to a folder with a shorter path" },
  );
}
