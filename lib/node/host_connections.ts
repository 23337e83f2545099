/**
 * What a lent VM is connected to as the lender's host sees it: the sockets of its hypervisor, by way
 * of `ss` (iproute2). Only a VM in mode `direct` has any; whatever another VM sends leaves by the
 * node's own socket.
 *
 * ```
 * Netid State Recv-Q Send-Q      Local:Port        Peer:Port  Process
 * tcp   ESTAB 0      0      192.168.1.100:40312  203.0.113.7:80  users:(("qemu-system-x86",pid=7,fd=12))
 * ```
 *
 * A UDP socket is bound and not connected: its row says from where, and not to whom. Ping is not
 * shown; `ss` has no list of such sockets.
 *
 * @see {@link https://man7.org/linux/man-pages/man8/ss.8.html | ss(8)}
 * @module
 */

import { EXIT, OmertaError } from "../core/errors.ts";
import { run } from "../core/process.ts";
import { programMissing } from "../../vm/requirements.ts";

/** Connections that are told, at the most; what is beyond is left out. */
export const MAX_CONNECTIONS = 1024;
/** Time for `ss`, in ms. */
const SS_MS = 10_000;

/** One connection of a VM, as the host sees it. */
export interface HostConnection {
  /** `tcp` or `udp`. */
  readonly protocol: "tcp" | "udp";
  /** The word of `ss`: `ESTAB`, `SYN-SENT`, `UNCONN`, ... */
  readonly state: string;
  /** Address and port on this host. */
  readonly local: string;
  /** Address and port of the other side; `*:*` for a UDP socket, which may send to anybody. */
  readonly peer: string;
}

/** The connections of process `pid` in what `ss -Htunap` printed. Never throws. */
export function readConnections(text: string, pid: number): HostConnection[] {
  const found: HostConnection[] = [];
  for (const line of text.split("\n")) {
    const [protocol, state, , , local, peer, ...users] = line.trim().split(/\s+/);
    if (protocol !== "tcp" && protocol !== "udp") continue;
    if (state === undefined || local === undefined || peer === undefined) continue;
    if (!users.join(" ").includes(`,pid=${pid},`)) continue;
    if (found.length === MAX_CONNECTIONS) break;
    found.push({ protocol, state, local, peer: peer.replace(/^(?:0\.0\.0\.0|\[::\]):\*$/, "*:*") });
  }
  return found;
}

/**
 * The connections of process `pid` now.
 *
 * @param program What lists them; `ss` from PATH unless told otherwise.
 * @throws {OmertaError} `ss-missing`, with how to get it, or `ss-failed`.
 */
export async function hostConnections(pid: number, program = "ss"): Promise<HostConnection[]> {
  try {
    const { code, stdout, stderr } = await run(program, ["-Htunap"], { timeoutMs: SS_MS });
    if (code === 0) return readConnections(stdout, pid);
    throw new OmertaError("ss-failed", `Cannot list connections: ss says: ${stderr.trim()}`, {
      exit: EXIT.failed,
    });
  } catch (error) {
    throw programMissing(error, "ss");
  }
}
