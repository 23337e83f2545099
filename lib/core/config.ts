/**
 * The configuration file, `$OMERTA_HOME/config.json`: keys and settings, for its user only.
 *
 * A file that others can read is refused, and so is one that does not fit the schema: the error
 * names the file and the place in it. It is never rewritten unless a command changes a setting.
 *
 * @module
 */

import { randomBytes } from "node:crypto";
import { z } from "zod";
import { EXIT, messageOf, OmertaError } from "./errors.ts";
import { writeFileAtomic } from "./files.ts";
import { DEFAULT_PORT } from "./link.ts";
import { generateIdentity, Identity, KEY_LEN } from "./identity.ts";
import type { Paths } from "./paths.ts";
import { parseTimeRange } from "./quiet_hours.ts";

const KeyHex = z.string().regex(/^[0-9a-f]{64}$/, "want 64 characters of 0-9 and a-f");
const Port = z.int().min(1).max(65535);

/** Lenders whose link was imported, at the most. The oldest must be removed by hand beyond that. */
const MAX_LENDERS = 32;

/** Entries of a list of the lender's, at the most. */
const MAX_LIST = 256;

/** A peer id, or so many of its first characters that few share them. */
const PeerPrefix = z.string().regex(
  /^[0-9a-f]{8,16}$/,
  "want a peer id, or at least its first 8 characters, of 0-9 and a-f",
);
const QuietHours = z.string().refine(
  (text) => parseTimeRange(text) !== undefined,
  "want HH:MM-HH:MM, or with days as in 'sat,sun 22:00-07:00'",
);

/** The same as `VmMode` in lib/node/messages.ts; docs/security.md says what each means. */
const Mode = z.enum(["filtered", "conntrack", "sampled", "ebpf", "direct"]);

/** Modes that a lender allows who has said nothing: those that keep a VM from the lender's network. */
export const DEFAULT_MODES = ["filtered", "conntrack", "sampled", "ebpf"] as const;

/** How long a VM's tunnel may be lost, when the lender sets nothing else; in seconds. */
export const DEFAULT_TUNNEL_TIMEOUT_S = 600;

/** What a lender has done about a VM that is called rogue. */
export const ROGUE_ACTIONS = ["log", "alarm", "end"] as const;

const ConfigSchema = z.strictObject({
  /** Version of this file's form. */
  version: z.literal(1),
  /** Shared with those who may borrow from this node, 32 bytes. Secret. */
  localKey: KeyHex,
  /** Who this node is. */
  identity: z.strictObject({
    /** Ed25519 seed of the peer. Secret. */
    peerSeed: KeyHex,
    /** X25519 private key of the machine. Secret. */
    machineKey: KeyHex,
    /** When the machine key was made, in ms since 1970. */
    machineCreated: z.int().nonnegative(),
  }),
  /** UDP port of the node. */
  port: Port.default(DEFAULT_PORT),
  /** What this node lends. */
  lend: z.strictObject({
    /** Processors lent in all; the default is all of this host. */
    cpus: z.int().min(1).max(1024).optional(),
    /** Memory lent in all, in MiB; the default is half of this host. */
    memoryMiB: z.int().min(256).optional(),
    /** Disk lent in all, in GiB. */
    diskGiB: z.int().min(1).default(100),
    /** VMs at a time. */
    vms: z.int().min(1).max(256).default(8),
    /** Peers that may borrow, and no others; everybody with the link when there are none. */
    allow: z.array(PeerPrefix).max(MAX_LIST).default([]),
    /** Peers that may not borrow, also when they are allowed. */
    deny: z.array(PeerPrefix).max(MAX_LIST).default([]),
    /** The most that one VM gets. */
    perVm: z.strictObject({
      /** Processors. */
      cpus: z.int().min(1).max(1024).optional(),
      /** Memory in MiB. */
      memoryMiB: z.int().min(256).optional(),
      /** Disk in GiB. */
      diskGiB: z.int().min(1).optional(),
      /** Its time, in seconds; a request must name one that is not longer. */
      ttlSeconds: z.int().min(60).max(31_536_000).optional(),
      /** Whether a request must name a time, however long. */
      ttlRequired: z.boolean().default(false),
    }).prefault({}),
    /** VMs that one peer has at a time; the default is as many as there are. */
    perBorrower: z.int().min(1).max(256).optional(),
    /** When no VM is accepted, in local time; VMs that run then go on. */
    quiet: z.array(QuietHours).max(16).default([]),
    /** What this host keeps for itself, whatever is lent. */
    reserve: z.strictObject({
      /** Processors. */
      cpus: z.int().min(0).max(1024).default(0),
      /** Memory in MiB, of what is available at the time of a request. */
      memoryMiB: z.int().min(0).default(0),
    }).prefault({}),
    /** Modes of the network that a VM may be asked for with. */
    modes: z.array(Mode).min(1).max(Mode.options.length).default([...DEFAULT_MODES]),
    /** Share of the frames that mode `sampled` judges. */
    sampleRate: z.number().gt(0).max(1).default(0.01),
    /** From when on a VM is called rogue, as net/filter/rogue.ts counts, and what is done then. */
    rogue: z.strictObject({
      /** Write it down, or raise an alarm too, or end the VM too. */
      action: z.enum(ROGUE_ACTIONS).default("alarm"),
      /** Refused frames in a minute. */
      perMinute: z.int().min(1).default(60),
      /** Refused frames in an hour. */
      perHour: z.int().min(1).default(300),
      /** Different destinations in an hour. */
      destinations: z.int().min(1).max(64).default(16),
      /** Frames under a false source address in an hour. */
      spoofed: z.int().min(1).default(3),
    }).prefault({}),
    /**
     * A VM is ended when nothing of its tunnel was heard for so long, in seconds; null for never.
     * One end or the other is heard of every 15 seconds.
     */
    tunnelTimeoutSeconds: z.int().min(30).max(31_536_000).nullable()
      .default(DEFAULT_TUNNEL_TIMEOUT_S),
  }).prefault({}),
  /** Lenders whose link was imported. */
  lenders: z.array(z.strictObject({
    /** Address or name. */
    host: z.string().min(1).max(253),
    /** UDP port. */
    port: Port,
    /** The lender's local key. Secret. */
    key: KeyHex,
  })).max(MAX_LENDERS).default([]),
});

/** The configuration of a node. Keys are hex. */
export type Config = z.infer<typeof ConfigSchema>;

/** What a node lends, to whom and when. */
export type LendRules = Config["lend"];

/** A lender whose link was imported. */
export type KnownLender = Config["lenders"][number];

/** A new configuration with fresh keys. */
export function newConfig(now: number): Config {
  const keys = generateIdentity(now);
  return ConfigSchema.parse({
    version: 1,
    localKey: randomBytes(KEY_LEN).toString("hex"),
    identity: {
      peerSeed: keys.peerSeed.toHex(),
      machineKey: keys.machineKey.toHex(),
      machineCreated: keys.machineCreated,
    },
  });
}

/** The identity that a configuration holds. */
export function identityOf(config: Config): Identity {
  return new Identity({
    peerSeed: Uint8Array.fromHex(config.identity.peerSeed),
    machineKey: Uint8Array.fromHex(config.identity.machineKey),
    machineCreated: config.identity.machineCreated,
  });
}

/**
 * Reads the configuration.
 *
 * @throws {OmertaError} `not-initialized`, `config-exposed` or `config-damaged`.
 */
export async function loadConfig(paths: Paths): Promise<Config> {
  let text: string;
  try {
    const { mode } = await Deno.stat(paths.config);
    if (mode !== null && (mode & 0o077) !== 0) throw exposed(paths.config, mode & 0o777);
    text = await Deno.readTextFile(paths.config);
  } catch (error) {
    if (error instanceof OmertaError) throw error;
    if (!(error instanceof Deno.errors.NotFound)) throw error;
    throw new OmertaError("not-initialized", `Cannot read ${paths.config}: it does not exist`, {
      exit: EXIT.missing,
      next: "Run 'omerta init' first",
    });
  }
  let json: unknown;
  try {
    json = JSON.parse(text);
  } catch (error) {
    // JSON.parse may quote the text it stumbled over, and the text holds keys.
    const position = /position \d+(?: \(line \d+ column \d+\))?/.exec(messageOf(error))?.[0];
    throw damaged(paths.config, `it is not JSON${position ? ` (at ${position})` : ""}`);
  }
  const result = ConfigSchema.safeParse(json);
  if (result.success) return result.data;
  const issue = result.error.issues[0];
  throw damaged(paths.config, `${issue?.path.join(".") || "the file"}: ${issue?.message}`);
}

/** Writes the configuration, checked once more. */
export async function saveConfig(paths: Paths, config: Config): Promise<void> {
  const checked = ConfigSchema.parse(config);
  await writeFileAtomic(paths.config, JSON.stringify(checked, null, 2) + "\n");
}

/**
 * `config` with the link of one more lender; a link for the same host and port replaces the old one.
 *
 * @throws {OmertaError} `too-many-lenders`.
 */
export function withLender(config: Config, lender: KnownLender): Config {
  const others = config.lenders.filter((l) => l.host !== lender.host || l.port !== lender.port);
  if (others.length >= MAX_LENDERS) {
    throw new OmertaError(
      "too-many-lenders",
      `Cannot keep the link of ${lender.host}: ${MAX_LENDERS} lenders are known, which is the most`,
      { exit: EXIT.usage, next: "Remove a lender from config.json" },
    );
  }
  return { ...config, lenders: [...others, lender] };
}

/**
 * `config` with changes to what is lent. What is undefined is as it was at first.
 *
 * @param what What is changed, for the error: "vm-memory to '12'".
 * @throws {OmertaError} `bad-option`, when the file would not be accepted with them.
 */
export function withLend(
  config: Config,
  what: string,
  changes: Readonly<Partial<Record<keyof LendRules, unknown>>>,
): Config {
  const result = ConfigSchema.shape.lend.safeParse({ ...config.lend, ...changes });
  if (result.success) return { ...config, lend: result.data };
  throw new OmertaError("bad-option", `Cannot set ${what}: ${result.error.issues[0]?.message}`, {
    exit: EXIT.usage,
    next: "See 'omerta lend show'",
  });
}

function exposed(path: string, mode: number): OmertaError {
  return new OmertaError(
    "config-exposed",
    `Cannot use ${path}: other users of this host can read the keys in it (mode ${
      mode.toString(8)
    }, want 600)`,
    {
      exit: EXIT.usage,
      next: `Run 'chmod 600 ${path}'; if others may have read it, 'omerta init --force'`,
    },
  );
}

function damaged(path: string, why: string): OmertaError {
  return new OmertaError("config-damaged", `Cannot use ${path}: ${why}`, {
    exit: EXIT.usage,
    next: "Correct the file, or run 'omerta init --force', which keeps the old one beside the new",
  });
}
