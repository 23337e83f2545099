/**
 * What runs the guest's instructions: the processor itself (KVM, HVF) or QEMU's translator (TCG),
 * which works everywhere and is about ten times slower.
 *
 * Some hosts have a `/dev/kvm` on which a guest kernel hangs before its first word: nested hosts
 * without the processor's virtualisation flags, and hosts with a broken hypervisor below them. The
 * flags are looked at before the device is touched; a guest that hangs or fails all the same is
 * started again under TCG, and when that works the host is remembered until its kernel changes.
 *
 * @module
 */

import { readTextIfThere, writeFileAtomic } from "../lib/core/files.ts";

/** Linux KVM, macOS Hypervisor.framework, or translation. */
export type Accelerator = "kvm" | "hvf" | "tcg";

/** A guest's or host's processor. */
export type Arch = "x86_64" | "aarch64";

/** What decides about the accelerator. */
export interface HostFacts {
  /** Operating system, as in `Deno.build.os`. */
  readonly os: string;
  /** Processor of the host. */
  readonly arch: Arch;
  /** Whether the processor says that it can virtualise (vmx or svm; always on aarch64). */
  readonly processorFlags: boolean;
  /** Whether `/dev/kvm` can be opened, or why not. Not looked at without the flags. */
  readonly kvm: "opens" | "missing" | "denied" | "not-tried";
  /** Whether KVM has hung or failed on this host and kernel before. */
  readonly kvmBroken: boolean;
}

/** The accelerator chosen, and what the user should know about it. */
export interface AcceleratorChoice {
  /** What to run the guest with. */
  readonly accelerator: Accelerator;
  /** Why it is slow and what helps; undefined when it is not slow. */
  readonly warning: string | undefined;
}

/** Chooses for a guest of processor `guest`. */
export function chooseAccelerator(facts: HostFacts, guest: Arch): AcceleratorChoice {
  if (guest !== facts.arch) {
    return slow(`the image is for ${guest} and this host is ${facts.arch}`);
  }
  if (facts.os === "darwin") return { accelerator: "hvf", warning: undefined };
  if (facts.os !== "linux") return slow(`acceleration is not supported on ${facts.os}`);
  if (!facts.processorFlags) {
    return slow("the processor offers neither vmx nor svm; enable virtualisation in the firmware");
  }
  if (facts.kvmBroken) return slow("KVM hung or failed on this host before");
  if (facts.kvm === "opens") return { accelerator: "kvm", warning: undefined };
  return slow(
    facts.kvm === "denied"
      ? "/dev/kvm may not be opened; add this user to the group kvm"
      : "/dev/kvm is missing; load the module kvm_intel or kvm_amd",
  );
}

function slow(reason: string): AcceleratorChoice {
  return {
    accelerator: "tcg",
    warning: `No hardware acceleration, the VM will be about ten times slower: ${reason}`,
  };
}

/** Looks at this host. `memoryFile` is where {@link rememberBrokenKvm} wrote. */
export async function hostFacts(memoryFile: string): Promise<HostFacts> {
  const os = Deno.build.os;
  const arch = Deno.build.arch;
  const processorFlags = arch === "aarch64" ||
    (os === "linux" && hasVirtualisationFlag(await readTextIfThere("/proc/cpuinfo") ?? ""));
  return {
    os,
    arch,
    processorFlags,
    kvm: os === "linux" && processorFlags ? await tryKvm() : "not-tried",
    kvmBroken: (await readTextIfThere(memoryFile))?.trim() === brokenMark(),
  };
}

/** Whether the text of `/proc/cpuinfo` names vmx (Intel) or svm (AMD). */
export function hasVirtualisationFlag(cpuinfo: string): boolean {
  return /^flags\s*:.*\b(?:vmx|svm)\b/m.test(cpuinfo);
}

async function tryKvm(): Promise<"opens" | "missing" | "denied"> {
  try {
    using _file = await Deno.open("/dev/kvm", { read: true, write: true });
    return "opens";
  } catch (error) {
    return error instanceof Deno.errors.NotFound ? "missing" : "denied";
  }
}

/** Remembers that KVM does not work here; forgotten when the host's kernel changes. */
export async function rememberBrokenKvm(memoryFile: string): Promise<void> {
  await writeFileAtomic(memoryFile, `${brokenMark()}\n`);
}

function brokenMark(): string {
  return `kvm-broken ${Deno.osRelease()}`;
}
