/**
 * What goes over the daemon's HTTP API, as schemas: the server checks what it is sent, and the
 * client what it gets.
 *
 * @module
 */

import { z } from "zod";
import { EXIT, type ExitCode, OmertaError } from "../core/errors.ts";
import { VmMode, VmName } from "../node/messages.ts";

/** Body of `POST /v1/vms`. */
export const RequestBody = z.strictObject({
  /** The lender: address or name, with or without a port. */
  provider: z.string().min(1).max(300),
  /** Name of the VM. */
  name: VmName,
  /** Virtual processors. */
  cpus: z.int().min(1).max(256),
  /** Memory in MiB. */
  memoryMiB: z.int().min(1).max(16_777_216),
  /** Disk in GiB. */
  diskGiB: z.int().min(1).max(65_536),
  /** An image of the lender's. */
  image: z.string().min(1).max(64).optional(),
  /** The VM ends by itself after this, in seconds. */
  ttlSeconds: z.int().min(60).max(31_536_000).optional(),
  /** Time from the request to ready, in ms. */
  timeoutMs: z.int().min(1000).max(86_400_000).optional(),
  /** How closely the lender looks at its network; the strictest when absent. */
  mode: VmMode.optional(),
  /** Whether to wait until it is ready. */
  wait: z.boolean(),
  /** Go the whole way, but start nothing. */
  dryRun: z.boolean(),
  /** Whether the VM is given back when the client goes away; the answer goes on until then. */
  hold: z.boolean().optional(),
});
/** Body of `POST /v1/vms`. */
export type RequestBody = z.infer<typeof RequestBody>;

const ExitCodeSchema = z.union([
  z.literal(EXIT.failed),
  z.literal(EXIT.usage),
  z.literal(EXIT.missing),
  z.literal(EXIT.unreachable),
  z.literal(EXIT.refused),
]);

/** An error as it travels. */
export const ApiError = z.object({
  /** Stable identifier. */
  code: z.string(),
  /** What could not be done. */
  message: z.string(),
  /** Exit code for a command that ends with it. */
  exit: ExitCodeSchema,
  /** What the user can do next. */
  next: z.string().optional(),
});
/** An error as it travels. */
export type ApiError = z.infer<typeof ApiError>;

/** An error as it travels, from whatever was thrown. */
export function toApiError(error: unknown): ApiError {
  if (!(error instanceof OmertaError)) {
    return {
      code: "failed",
      message: error instanceof Error ? error.message : String(error),
      exit: EXIT.failed,
    };
  }
  const exit = error.exit as Exclude<ExitCode, typeof EXIT.done>;
  return {
    code: error.code,
    message: error.message,
    exit: exit === (EXIT.done as ExitCode) ? EXIT.failed : exit,
    ...(error.next === undefined ? {} : { next: error.next }),
  };
}

/** The error that travelled. */
export function fromApiError(error: ApiError): OmertaError {
  return new OmertaError(error.code, error.message, {
    exit: error.exit,
    ...(error.next === undefined ? {} : { next: error.next }),
  });
}

/** A borrowed VM, without what is secret about it. */
export const VmView = z.object({
  /** Id of the VM. */
  id: z.string(),
  /** Name of the VM. */
  name: z.string(),
  /** Its lender, as it was named in the request. */
  host: z.string(),
  /** Address in the tunnel. */
  address: z.string(),
  /** When it was asked for: ms since 1970. */
  since: z.number(),
  /** When it was ready: ms since 1970; absent while it starts. */
  readyAt: z.number().optional(),
  /** How closely its lender looks at its network. */
  mode: VmMode,
  /** Whether nothing was started for it. */
  dryRun: z.boolean(),
  /** True when its lender did not answer when it was asked last. */
  lenderSilent: z.boolean().optional(),
});
/** A borrowed VM. */
export type VmView = z.infer<typeof VmView>;

/** Answer to `GET /v1/vms/:name/gone`. */
export const GoneView = z.object({
  /** Why it is not borrowed any more. */
  reason: z.string(),
});

/** One line of the answer to `POST /v1/vms`. */
export const RequestEvent = z.discriminatedUnion("kind", [
  z.object({ kind: z.literal("reachable"), endpoint: z.string(), latencyMs: z.number() }),
  z.object({ kind: z.literal("accepted"), id: z.string(), accelerator: z.string() }),
  z.object({ kind: z.literal("stage"), stage: z.string(), atMs: z.number() }),
  z.object({ kind: z.literal("done"), vm: VmView }),
  z.object({ kind: z.literal("error"), error: ApiError }),
  z.object({ kind: z.literal("gone"), reason: z.string() }),
]);
/** One line of the answer to `POST /v1/vms`. */
export type RequestEvent = z.infer<typeof RequestEvent>;

/** A VM that is lent. */
export const LentView = z.object({
  /** Id of the VM. */
  id: z.string(),
  /** Name that the borrower gave it. */
  name: z.string(),
  /** Id of the borrower's peer. */
  borrower: z.string(),
  /** Where the borrower is. */
  endpoint: z.string(),
  /** Last stage reached. */
  stage: z.string(),
  /** Virtual processors. */
  cpus: z.number(),
  /** Memory in MiB. */
  memoryMiB: z.number(),
  /** Disk in GiB. */
  diskGiB: z.number(),
  /** When it was asked for: ms since 1970. */
  since: z.number(),
  /** When it ends by itself: ms since 1970. */
  expires: z.number().optional(),
  /** How closely its network is looked at. */
  mode: VmMode,
  /** Whether nothing was started. */
  dryRun: z.boolean(),
});
/** A VM that is lent. */
export type LentView = z.infer<typeof LentView>;

/** One kind of alarm about one VM that is lent, or was. */
export const AlarmView = z.object({
  /** Id of the VM. */
  vm: z.string(),
  /** Name that the borrower gave it. */
  name: z.string(),
  /** Id of the borrower's peer. */
  borrower: z.string(),
  /** What it is about: spoofing, scan, per-minute, per-hour, flood. */
  kind: z.string(),
  /** What it is about, in words. */
  words: z.string(),
  /** When it was raised first: ms since 1970. */
  first: z.number(),
  /** When it was raised last: ms since 1970. */
  last: z.number(),
  /** How often it was raised. */
  times: z.number(),
  /** Frames that were counted for it the last time. */
  frames: z.number(),
  /** Different destinations in the hour before the last time. */
  destinations: z.number(),
  /** The frame that was one too many the last time, and why it was refused. */
  frame: z.string(),
});
/** One kind of alarm about one VM that is lent, or was. */
export type AlarmView = z.infer<typeof AlarmView>;

/** Answer to `GET /v1/alarms`, and to `DELETE`, which forgets them. */
export const AlarmsView = z.object({
  /** The alarms, the last raised last. */
  alarms: z.array(AlarmView),
});

/** Answer to `GET /v1/status`. */
export const StatusView = z.object({
  /** Version of the program. */
  version: z.string(),
  /** Process id of the daemon. */
  pid: z.number(),
  /** When it was started: ms since 1970. */
  started: z.number(),
  /** Id of the peer. */
  peer: z.string(),
  /** Id of the machine. */
  machine: z.string(),
  /** UDP port. */
  port: z.number(),
  /** What is lent; null when this node does not lend. */
  lending: z.object({
    /** Processors lent in all. */
    cpus: z.number(),
    /** Memory lent in all, in MiB. */
    memoryMiB: z.number(),
    /** Disk lent in all, in GiB. */
    diskGiB: z.number(),
    /** VMs at a time. */
    maxVms: z.number(),
    /** The rules beyond that, in words. */
    rules: z.array(z.string()),
    /** What runs VMs here. */
    accelerator: z.string(),
    /** Whether no VM is started. */
    dryRun: z.boolean(),
    /** The VMs lent. */
    vms: z.array(LentView),
    /** Alarms that nobody has looked at yet. */
    alarms: z.array(AlarmView),
  }).nullable(),
  /** How the tunnels to borrowed VMs end on this computer. */
  tunnelEnd: z.discriminatedUnion("kind", [
    z.object({
      /** Nothing was borrowed since the start. */
      kind: z.literal("none"),
    }),
    z.object({
      /** By an interface of the operating system. */
      kind: z.literal("device"),
      /** Its name. */
      name: z.string(),
    }),
    z.object({
      /** By the TCP/IP stack of the daemon. */
      kind: z.literal("userspace"),
      /** Why there is no interface. */
      why: z.string(),
    }),
  ]),
  /** VMs borrowed. */
  borrowed: z.array(VmView),
  /** Control datagrams refused, by reason. */
  controlFaults: z.record(z.string(), z.number()),
  /** Tunnels to borrowed VMs. */
  tunnels: z.array(z.object({
    /** WireGuard public key of the VM, base64. */
    publicKey: z.string(),
    /** Where its packets come from. */
    endpoint: z.string().nullable(),
    /** Bytes received. */
    rxBytes: z.number(),
    /** Bytes sent. */
    txBytes: z.number(),
    /** Last handshake: ms since 1970; null before the first. */
    lastHandshake: z.number().nullable(),
  })),
  /** Cables of lent VMs. */
  cables: z.array(z.object({
    /** Id of the VM. */
    id: z.string(),
    /** Bytes of tunnel from the guest. */
    fromGuest: z.number(),
    /** Bytes of tunnel to the guest. */
    toGuest: z.number(),
    /** Frames forwarded without being judged; none in mode filtered. */
    unjudged: z.number(),
    /** Frames refused, by reason. */
    refused: z.record(z.string(), z.number()),
  })),
});
/** Answer to `GET /v1/status`. */
export type StatusView = z.infer<typeof StatusView>;

/** Answer to `DELETE /v1/vms/:name`. */
export const ReleaseView = z.object({
  /** The VM. */
  vm: VmView,
  /** Whether its lender still had it. */
  ended: z.boolean(),
});

/** Answer to `GET /v1/lent/:name/connections`. */
export const ConnectionsView = z.object({
  /** Name of the VM. */
  name: z.string(),
  /** How closely its network is looked at. */
  mode: VmMode,
  /** What it is connected to; nothing unless its mode is direct. */
  connections: z.array(z.object({
    /** `tcp` or `udp`. */
    protocol: z.enum(["tcp", "udp"]),
    /** The word of ss: `ESTAB`, `UNCONN`, ... */
    state: z.string(),
    /** Address and port on the lender's host. */
    local: z.string(),
    /** Address and port of the other side; `*:*` for a UDP socket. */
    peer: z.string(),
  })),
});
/** Answer to `GET /v1/lent/:name/connections`. */
export type ConnectionsView = z.infer<typeof ConnectionsView>;

/** Answer to `GET /v1/lent/:id/console`. */
export const ConsoleView = z.object({
  /** The last lines of the guest's console, oldest first. */
  lines: z.array(z.string()),
});

/** Answer to `GET /v1/lent/:name/refused`. */
export const RefusedView = z.object({
  /** Id of the VM. */
  id: z.string(),
  /** Name that the borrower gave it. */
  name: z.string(),
  /** Frames refused since its start, by reason. */
  counts: z.record(z.string(), z.number()),
  /** The last of them, oldest first. */
  frames: z.array(z.object({
    /** When: ms since 1970. */
    time: z.number(),
    /** Why. */
    reason: z.string(),
    /** Its length, in bytes. */
    length: z.number(),
    /** One line about it. */
    text: z.string(),
    /** Its beginning, base64. */
    bytes: z.base64(),
  })),
});
/** Answer to `GET /v1/lent/:name/refused`. */
export type RefusedView = z.infer<typeof RefusedView>;

/** Most frames of one rehearsal, and the longest, in bytes. */
const MAX_REHEARSED = 1024;
const MAX_FRAME = 16_384;

/** Body of `POST /v1/lent/:name/rehearsal`. */
export const RehearsalBody = z.strictObject({
  /** Whole Ethernet frames, hex. */
  frames: z.array(z.string().max(2 * MAX_FRAME).regex(/^(?:[0-9a-f]{2})*$/, "want hex"))
    .max(MAX_REHEARSED),
});

/** Answer to `POST /v1/lent/:name/rehearsal`. */
export const RehearsalView = z.object({
  /** What would become of each frame. */
  frames: z.array(z.object({
    /** What the rules say: a word of net/filter/verdict.ts. */
    verdict: z.string(),
    /** What would come out, and on which side. */
    out: z.enum(["nothing", "uplink", "guest"]),
    /** What would be done to the VM. */
    action: z.enum(["none", "drop", "end"]),
    /** Whether the VM's mode lets it pass without the rules. */
    unjudged: z.boolean(),
  })),
});
/** Answer to `POST /v1/lent/:name/rehearsal`. */
export type RehearsalView = z.infer<typeof RehearsalView>;
