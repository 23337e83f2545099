/**
 * What borrower and lender say to each other, by channel. Both sides check with these schemas.
 *
 * Every message fits one envelope (`MAX_MESSAGE_BYTES` in `net/mesh/envelope.ts`). Who asks is
 * known from the envelope and stands in no body. Ids, addresses and keys of a VM are chosen by its
 * lender.
 *
 * @module
 */

import { z } from "zod";
import { FILTER_MODES } from "../../net/filter/strategy.ts";
import { parseKey } from "../../net/wireguard/keys.ts";
import { STAGES } from "../../vm/stages.ts";

/** Channels of the control protocol that this node answers. */
export const CHANNEL = {
  /** Is somebody there, and who. */
  ping: "ping",
  /** Lend me a VM. */
  request: "vm-request",
  /** How far is it; what the borrower has seen of it. */
  status: "vm-status",
  /** I am done with it. */
  release: "vm-release",
  /** These I still use. */
  heartbeat: "vm-heartbeat",
  /** From the lender: these have ended. */
  shutdown: "provider-shutdown",
} as const;

const VmIdText = z.string().regex(/^[0-9a-f]{16}$/);

/** A WireGuard key as `wg` writes it. */
export const WireguardKey = z.string().refine(
  (text) => parseKey(text) !== undefined,
  "want 44 characters of base64",
);
const Ipv4Text = z.ipv4();

/** Name of a VM: a DNS label, which also is its host name. */
export const VmName = z.string().regex(
  /^[a-z0-9](?:[a-z0-9-]{0,30}[a-z0-9])?$/,
  "want 1 to 32 of a-z, 0-9 and '-', not at the ends",
);

/**
 * How closely a VM's network is looked at; net/filter/strategy.ts says what each mode means, and
 * modes.ts those that it does not have.
 */
export const VmMode = z.enum([...FILTER_MODES, "ebpf", "direct"]);
/** How closely a VM's network is looked at. */
export type VmMode = z.infer<typeof VmMode>;
/** The mode of a VM that was asked for without one: the strictest. */
export const DEFAULT_MODE: VmMode = "filtered";

/** One line of an OpenSSH public key. */
export const SshPublicKey = z.string().max(400).regex(
  /^(?:ssh-ed25519|ssh-rsa|ecdsa-sha2-nistp(?:256|384|521)) [A-Za-z0-9+/]+={0,2}(?: [ -~]*)?$/,
  "want one line of an OpenSSH public key",
);

/** Answer to {@link CHANNEL.ping}. */
export const PingAnswer = z.strictObject({
  /** Whether VMs are lent here. */
  lends: z.boolean(),
  /** Version of the program. */
  version: z.string().max(32),
});

/** Body of {@link CHANNEL.request}. */
export const VmRequest = z.strictObject({
  /** Name that the borrower gave it. */
  name: VmName,
  /** Virtual processors. */
  cpus: z.int().min(1).max(256),
  /** Memory in MiB. */
  memoryMiB: z.int().min(1).max(16_777_216),
  /** Disk in GiB. */
  diskGiB: z.int().min(1).max(65_536),
  /** Name or id of an image of the lender's; the lender's default when absent. */
  image: z.string().min(1).max(64).optional(),
  /** Who may log in. */
  sshKey: SshPublicKey,
  /** Host numbers within 10.0.0.0/16 that the borrower already uses for other VMs. */
  taken: z.array(z.int().min(1).max(65_534)).max(64),
  /** The VM ends by itself after this, in seconds. */
  ttlSeconds: z.int().min(60).max(31_536_000).optional(),
  /** How closely the lender looks at its network. */
  mode: VmMode.default(DEFAULT_MODE),
  /** Go the whole way, but start nothing. */
  dryRun: z.boolean(),
});
/** Body of {@link CHANNEL.request}. */
export type VmRequest = z.infer<typeof VmRequest>;

/** Answer to {@link CHANNEL.request}: accepted; the VM is on its way. */
export const VmAccepted = z.strictObject({
  /** Id of the VM. */
  vmId: VmIdText,
  /** Its address in the borrower's tunnel. */
  address: Ipv4Text,
  /** Its WireGuard public key. */
  wireguardKey: WireguardKey,
  /** Its SSH host key: `ssh-ed25519 AAAA..`. */
  hostKey: SshPublicKey,
  /** What runs it. */
  accelerator: z.enum(["kvm", "hvf", "tcg"]),
  /** Whether nothing will be started. */
  dryRun: z.boolean(),
});
/** Answer to {@link CHANNEL.request}. */
export type VmAccepted = z.infer<typeof VmAccepted>;

const StageName = z.enum(STAGES);

/** Body of {@link CHANNEL.status}. */
export const VmStatusRequest = z.strictObject({
  /** Id of the VM. */
  vmId: VmIdText,
  /** Stages that only the borrower can see. */
  seen: z.array(StageName).max(STAGES.length),
});

/** Answer to {@link CHANNEL.status}. */
export const VmStatus = z.strictObject({
  /** When each stage was reached, in ms since the request. */
  reached: z.partialRecord(StageName, z.number().nonnegative()),
  /** Set when it has failed. */
  failure: z.strictObject({
    /** The stage that was not reached. */
    stage: StageName,
    /** What happened instead, with the last console lines. */
    reason: z.string().max(700),
    /** What to try. */
    next: z.string().max(200).optional(),
    /** When, in ms since the request. */
    atMs: z.number().nonnegative(),
  }).optional(),
});
/** Answer to {@link CHANNEL.status}. */
export type VmStatus = z.infer<typeof VmStatus>;

/** Body of {@link CHANNEL.release}. */
export const VmRelease = z.strictObject({
  /** Id of the VM. */
  vmId: VmIdText,
});

/** Answer to {@link CHANNEL.release}. */
export const VmReleased = z.strictObject({
  /** False when there was no such VM any more. */
  ended: z.boolean(),
});

/** A borrower says this often that it still uses its VMs, in ms. */
export const HEARTBEAT_MS = 60_000;
/** VMs named in one heartbeat, at the most. */
export const MAX_HEARTBEAT_VMS = 32;

/** Body of {@link CHANNEL.heartbeat}, and its answer: those of them that still run. */
export const VmList = z.strictObject({
  /** Ids of VMs. */
  vms: z.array(VmIdText).max(MAX_HEARTBEAT_VMS),
});

/** Body of {@link CHANNEL.shutdown}. */
export const ShutdownNotice = z.strictObject({
  /** Ids of the VMs that have ended. */
  vms: z.array(VmIdText).max(MAX_HEARTBEAT_VMS),
  /** Why. */
  reason: z.string().max(300),
});
