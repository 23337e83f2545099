/**
 * The states of a connection (RFC 9293 section 3.3.2, figure 5).
 *
 * ```
 *                              +--------+
 *          connect()  +--------| CLOSED |--------+  accept() of a SYN
 *          SYN        |        +--------+        |  SYN, ACK
 *                     v                          v
 *              +----------+   SYN / SYN,ACK +---------+
 *              | SYN-SENT |---------------->| SYN-RCVD|
 *              +----------+                 +---------+
 *         SYN,ACK |    \                       | ACK of SYN
 *           / ACK v     +--- ESTABLISHED <-----+
 *                            |         |
 *               end() / FIN  |         |  FIN / ACK
 *                            v         v
 *                  FIN-WAIT-1           CLOSE-WAIT
 *        ACK of FIN |      \ FIN / ACK      | end() / FIN
 *                   v       v               v
 *             FIN-WAIT-2   CLOSING       LAST-ACK
 *          FIN / ACK |       | ACK of FIN   | ACK of FIN
 *                    v       v              v
 *                    TIME-WAIT ----------> CLOSED
 *                              2 MSL
 * ```
 *
 * LISTEN belongs to a listener, not to a connection; a SYN that its owner has not answered yet is a
 * `PendingSyn`. In TIME-WAIT only a small record is left of a connection.
 *
 * @module
 */

/** States as small numbers, ordered so that comparisons say something. */
export const STATE = {
  closed: 0,
  synSent: 1,
  synReceived: 2,
  /** From here on both sides know each other's sequence numbers: "synchronized". */
  established: 3,
  closeWait: 4,
  finWait1: 5,
  finWait2: 6,
  closing: 7,
  lastAck: 8,
  timeWait: 9,
} as const;

/** One of {@link STATE}; a number, because a state changes behind the compiler's back. */
export type State = number;

/** The names of the RFC. */
export type StateName =
  | "CLOSED"
  | "SYN-SENT"
  | "SYN-RECEIVED"
  | "ESTABLISHED"
  | "CLOSE-WAIT"
  | "FIN-WAIT-1"
  | "FIN-WAIT-2"
  | "CLOSING"
  | "LAST-ACK"
  | "TIME-WAIT";

const NAMES: readonly StateName[] = [
  "CLOSED",
  "SYN-SENT",
  "SYN-RECEIVED",
  "ESTABLISHED",
  "CLOSE-WAIT",
  "FIN-WAIT-1",
  "FIN-WAIT-2",
  "CLOSING",
  "LAST-ACK",
  "TIME-WAIT",
];

/** A state's name in the RFC's spelling. */
export function stateName(state: State): StateName {
  return NAMES[state] ?? "CLOSED";
}

/** Whether data and FIN may be sent, or sent again. */
export function maySend(state: State): boolean {
  return state >= STATE.established && state <= STATE.lastAck && state !== STATE.finWait2;
}

/** Whether data and FIN may still arrive. */
export function mayReceive(state: State): boolean {
  return state === STATE.established || state === STATE.finWait1 || state === STATE.finWait2;
}
