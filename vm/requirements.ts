/**
 * What a host needs: which programs, what each is for, whether it is there, and how to get it.
 *
 * @module
 */

import { statfs } from "node:fs/promises";
import { dirname, resolve } from "node:path";
import { EXIT, OmertaError } from "../lib/core/errors.ts";
import { exists } from "../lib/core/files.ts";
import { run } from "../lib/core/process.ts";
import { chooseAccelerator, hostFacts } from "./accelerator.ts";
import { chooseBuildMode } from "./image/build_mode.ts";
import { qemuProgram } from "./qemu_command.ts";

/** Something that a host should have. */
export interface Requirement {
  /** Short name, e.g. `qemu`. */
  readonly name: string;
  /** What Omerta does with it. */
  readonly purpose: string;
  /** Version or state; undefined when it is not there. */
  readonly found: string | undefined;
  /** Whether lending needs it, or only some commands. */
  readonly needed: "required" | "optional";
  /** The command that gets it on this platform; undefined when there is none. */
  readonly get: string | undefined;
}

/** A program that may be needed. */
interface Tool {
  readonly name: string;
  readonly command: readonly [string, ...string[]];
  readonly purpose: string;
  readonly needed: "required" | "optional";
  /** Debian package; none where it makes no sense. */
  readonly apt?: string;
  /** Homebrew formula; none where it makes no sense. */
  readonly brew?: string;
}

const ARCH = Deno.build.arch;

const TOOLS: readonly Tool[] = [
  {
    name: "qemu",
    command: [qemuProgram(ARCH), "--version"],
    purpose: "runs VMs",
    needed: "required",
    apt: ARCH === "aarch64" ? "qemu-system-arm" : "qemu-system-x86",
    brew: "qemu",
  },
  {
    name: "vfkit",
    command: ["vfkit", "--version"],
    purpose: "runs VMs with Virtualization.framework",
    needed: "optional",
    brew: "vfkit",
  },
  {
    name: "qemu-img",
    command: ["qemu-img", "--version"],
    purpose: "makes VM disks",
    needed: "required",
    apt: "qemu-utils",
    brew: "qemu",
  },
  {
    name: "ssh",
    command: ["ssh", "-V"],
    purpose: "opens a shell in a VM",
    needed: "required",
    apt: "openssh-client",
    brew: "openssh",
  },
  {
    name: "mmdebstrap",
    command: ["mmdebstrap", "--version"],
    purpose: "builds images (omerta image build)",
    needed: "optional",
    apt: "mmdebstrap",
  },
  {
    name: "ss",
    command: ["ss", "-V"],
    purpose: "shows what a VM in mode direct is connected to",
    needed: "optional",
    apt: "iproute2",
  },
  {
    name: "ping",
    command: ["ping", "-V"],
    purpose: "asks the guest in boot test tap-ping",
    needed: "optional",
    apt: "iputils-ping",
  },
  {
    name: "unshare",
    command: ["unshare", "-V"],
    purpose: "keeps boot tests tap-ping and e2e off the network",
    needed: "optional",
    apt: "util-linux",
  },
];

/**
 * Looks at this host.
 *
 * @param memoryFile Where a host on which KVM hangs is remembered, see accelerator.ts.
 * @param folder A folder that exists, on the disk that VMs will use.
 */
export async function findRequirements(memoryFile: string, folder: string): Promise<Requirement[]> {
  const tools = TOOLS.filter((tool) => getCommand(tool, Deno.build.os) !== undefined);
  return await Promise.all([
    ...tools.map(findTool),
    findAccelerator(memoryFile),
    ...(Deno.build.os === "linux" ? [findBuildMode(), findTun()] : []),
    findMemory(),
    findDisk(folder),
  ]);
}

async function findTool(tool: Tool): Promise<Requirement> {
  return {
    name: tool.name,
    purpose: tool.purpose,
    found: await versionOf(tool.command),
    needed: tool.needed,
    get: getCommand(tool, Deno.build.os),
  };
}

async function versionOf([program, ...args]: readonly [string, ...string[]]): Promise<
  string | undefined
> {
  try {
    const result = await run(program, args, { timeoutMs: 10_000 });
    return readVersion(result.stdout || result.stderr);
  } catch {
    return undefined;
  }
}

/** The first number with a dot in what a program says about itself, or its first line. */
export function readVersion(text: string): string {
  return /\d+\.[\w.]+/.exec(text)?.[0] ?? text.trim().split("\n")[0] ?? "";
}

/** How to get `tool` on `os`; undefined when there is no way that we know. */
function getCommand(tool: Pick<Tool, "apt" | "brew">, os: string): string | undefined {
  if (os === "darwin") return tool.brew && `brew install ${tool.brew}`;
  return tool.apt && `sudo apt install ${tool.apt}`;
}

async function findAccelerator(memoryFile: string): Promise<Requirement> {
  const choice = chooseAccelerator(await hostFacts(memoryFile), ARCH);
  return {
    name: "acceleration",
    purpose: "runs VMs at full speed",
    found: choice.warning === undefined ? choice.accelerator : undefined,
    needed: "optional",
    get: choice.warning,
  };
}

async function findBuildMode(): Promise<Requirement> {
  const requirement = {
    name: "image mode",
    purpose: "builds images as this user",
    needed: "optional",
  } as const;
  try {
    const { name } = await chooseBuildMode(Deno.uid() === 0);
    return { ...requirement, found: name, get: undefined };
  } catch (error) {
    if (!(error instanceof OmertaError)) throw error;
    return { ...requirement, found: undefined, get: error.next };
  }
}

async function findTun(): Promise<Requirement> {
  let found: string | undefined;
  try {
    using _device = await Deno.open("/dev/net/tun", { read: true, write: true });
    found = "opens";
  } catch {
    found = undefined;
  }
  const get = "sudo modprobe tun";
  return {
    name: "/dev/net/tun",
    purpose: "the tunnel's interface, to borrow",
    found,
    needed: "optional",
    get,
  };
}

function findMemory(): Promise<Requirement> {
  const freeMiB = Math.floor(Deno.systemMemoryInfo().available / 2 ** 20);
  return Promise.resolve({
    name: "memory",
    purpose: "1024 MiB for a VM",
    found: freeMiB >= 1024 ? `${freeMiB} MiB free` : undefined,
    needed: "required",
    get: `${freeMiB} MiB are free: end other programs`,
  });
}

async function findDisk(folder: string): Promise<Requirement> {
  const freeGiB = Math.floor(await freeDiskMiB(folder) / 1024);
  return {
    name: "disk",
    purpose: "4 GiB for an image and a VM",
    found: freeGiB >= 4 ? `${freeGiB} GiB free` : undefined,
    needed: "required",
    get: `${freeGiB} GiB are free in ${folder}`,
  };
}

/** Space that this user may still fill on the disk of `folder`, in MiB. */
export async function freeDiskMiB(folder: string): Promise<number> {
  const { bavail, bsize } = await statfs(await nearestThatExists(folder));
  return Math.floor(bavail * bsize / 2 ** 20);
}

/** `folder`, or the first above it that exists: a home may not have been made yet. */
async function nearestThatExists(folder: string): Promise<string> {
  let path = resolve(folder);
  while (!await exists(path) && dirname(path) !== path) path = dirname(path);
  return path;
}

/** `program-missing` for one of our tools, said with how to get it; other errors as they are. */
export function programMissing(
  error: unknown,
  name: "qemu" | "qemu-img" | "ssh" | "vfkit" | "ss" | "ping" | "unshare",
): unknown {
  if (!(error instanceof OmertaError) || error.code !== "program-missing") return error;
  const tool = TOOLS.find((candidate) => candidate.name === name);
  const next = tool && getCommand(tool, Deno.build.os);
  return new OmertaError(`${name}-missing`, `${error.message}; it ${tool?.purpose}`, {
    exit: EXIT.missing,
    cause: error,
    ...(next === undefined ? {} : { next: `Run: ${next}` }),
  });
}
