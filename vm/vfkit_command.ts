/**
 * The command line of vfkit for one VM: devices are data, one argument each.
 *
 * vfkit runs a guest with Apple's Virtualization.framework. Its options separate with commas and
 * know no escape, so that a path with a comma is refused.
 *
 * @see {@link https://github.com/crc-org/vfkit/blob/main/doc/usage.md | vfkit command line}
 * @module
 */

import { EXIT, OmertaError } from "../lib/core/errors.ts";
import type { ImageBoot } from "./image/image.ts";

/** One `--device`. Paths are absolute. */
export type VfkitDevice =
  | {
    /** A disk in raw format. */
    readonly kind: "virtio-blk";
    /** The file. */
    readonly path: string;
  }
  | {
    /** A network card: one Ethernet frame per unix datagram. */
    readonly kind: "virtio-net";
    /** Our socket; vfkit binds one of its own in the same folder. */
    readonly unixSocketPath: string;
    /** Hardware address. */
    readonly mac: string;
  }
  | {
    /** A network card behind macOS, which translates addresses. */
    readonly kind: "virtio-nat";
    /** Hardware address. */
    readonly mac: string;
  }
  | {
    /** The console, `hvc0` in the guest. */
    readonly kind: "virtio-serial";
    /** File that takes what the guest prints. */
    readonly logFilePath: string;
  }
  | {
    /** Random numbers from the host. */
    readonly kind: "virtio-rng";
  };

/** Everything vfkit needs to know about one VM. */
export interface VfkitSpec {
  /** Number of processors. */
  readonly cpus: number;
  /** Memory in MiB. */
  readonly memoryMiB: number;
  /** What starts the guest; the kernel is not compressed. */
  readonly boot: ImageBoot;
  /** File for the variables of the firmware; made when it is not there. */
  readonly variableStore: string;
  /** Socket on which vfkit serves its REST interface. */
  readonly restSocket: string;
  /** Devices in the order in which the guest sees them. */
  readonly devices: readonly VfkitDevice[];
}

/**
 * Arguments of vfkit for `spec`.
 *
 * @throws {OmertaError} `bad-path` when a value holds a comma or a quotation mark.
 */
export function vfkitArguments(spec: VfkitSpec): string[] {
  return [
    ...["--cpus", `${spec.cpus}`, "--memory", `${spec.memoryMiB}`],
    ...["--restful-uri", `unix://${plain(spec.restSocket)}`],
    ...["--bootloader", bootloader(spec)],
    ...spec.devices.flatMap((device) => ["--device", deviceArgument(device)]),
  ];
}

function bootloader({ boot, variableStore }: VfkitSpec): string {
  if (boot.kind === "disk") return `efi,variable-store=${plain(variableStore)},create`;
  const append = plain(consoleOnHvc0(boot.append));
  return `linux,kernel=${plain(boot.kernel)},initrd=${plain(boot.initrd)},cmdline="${append}"`;
}

/** The kernel command line with its console where vfkit has one. */
export function consoleOnHvc0(append: string): string {
  const others = append.split(/\s+/).filter((word) => word !== "" && !word.startsWith("console="));
  return [...others, "console=hvc0"].join(" ");
}

function deviceArgument(device: VfkitDevice): string {
  switch (device.kind) {
    case "virtio-blk":
      return `virtio-blk,path=${plain(device.path)}`;
    case "virtio-net":
      return `virtio-net,unixSocketPath=${plain(device.unixSocketPath)},mac=${plain(device.mac)}`;
    case "virtio-nat":
      return `virtio-net,nat,mac=${plain(device.mac)}`;
    case "virtio-serial":
      return `virtio-serial,logFilePath=${plain(device.logFilePath)}`;
    case "virtio-rng":
      return "virtio-rng";
  }
}

function plain(value: string): string {
  if (!/[,"]/.test(value)) return value;
  throw new OmertaError("bad-path", `Cannot hand ${value} to vfkit: it holds a comma or a quote`, {
    exit: EXIT.usage,
    next: "Set OMERTA_HOME to a folder without them",
  });
}
