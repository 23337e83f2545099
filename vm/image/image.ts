/**
 * A base image: what every VM's disk starts from. It lives in a folder named by its content and is
 * never written by a VM; a VM gets a qcow2 overlay on top of it.
 *
 * @module
 */

/** How a machine with this image starts. */
export type ImageBoot =
  | {
    /** QEMU loads the kernel itself, which is the fastest way. */
    readonly kind: "kernel";
    /** Absolute path of the kernel. */
    readonly kernel: string;
    /** Absolute path of the initial RAM disk. */
    readonly initrd: string;
    /** Kernel command line. */
    readonly append: string;
  }
  | {
    /** The firmware loads the image's own boot loader. */
    readonly kind: "disk";
  };

/** A base image in the store. */
export interface BaseImage {
  /** 16 hex characters of the content's hash. */
  readonly id: string;
  /** The name it was given; unique in a store. */
  readonly name: string;
  /** Processor it is for. */
  readonly arch: "x86_64" | "aarch64";
  /** Absolute path of the qcow2 file; never written by a VM. */
  readonly disk: string;
  /** Size of the disk as the guest sees it, in MiB. */
  readonly virtualSizeMiB: number;
  /** How it starts. */
  readonly boot: ImageBoot;
  /** When it was put into the store: ISO 8601, UTC. */
  readonly created: string;
}
