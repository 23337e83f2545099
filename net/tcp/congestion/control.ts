/**
 * What a congestion control is: how much may be on its way, and how fast it is sent.
 *
 * There are two, chosen for a stack or for a connection: CUBIC (`cubic_control.ts`), which answers to
 * each loss, and BBR (`bbr.ts`), which measures what the path carries.
 *
 * Finding losses and repairing them is not theirs: `_recovery.ts` does it, and tells them.
 *
 * @module
 */

/** Which congestion control. */
export type CongestionName = "cubic" | "bbr";

/** What the acknowledgments of a batch say together. */
export interface AckEvent {
  /** The time, in ms. */
  now: number;
  /** SND.UNA. */
  una: number;
  /** SND.NXT. */
  next: number;
  /** Bytes that have arrived for the first time, acknowledged or SACKed. */
  newlyDelivered: number;
  /** Bytes that duplicate acknowledgments without SACK stand for (RFC 6582). */
  duplicates: number;
  /** Bytes on their way now. */
  pipe: number;
  /** Bytes between SND.UNA and SND.NXT before these acknowledgments. */
  flightBefore: number;
  /** Round trip of the segment that was sent last of those that arrived, in ms; -1: none measured. */
  roundTrip: number;
  /** Smoothed round trip, in ms; -1: not measured yet. */
  smoothed: number;
  /** SND.UNA has moved. */
  progress: boolean;
  /** Something is newly known to be lost. */
  newlyLost: boolean;
  /** A recovery has begun with these acknowledgments. */
  begun: boolean;
  /** A recovery after a loss that acknowledgments told of runs. */
  recovers: boolean;
  /** A recovery after a timeout runs. */
  restarts: boolean;
  /** The window or the schedule, not the owner, held the sender back. */
  limited: boolean;
  /** The window did. */
  windowLimited: boolean;
  /** The other side reports what has arrived out of order (RFC 2018). */
  selective: boolean;
}

/** How much may be on its way, and how fast. */
export interface CongestionControl {
  /** Which one it is. */
  readonly name: CongestionName;
  /** Bytes that may be on their way. */
  readonly window: number;
  /**
   * The handshake is done.
   *
   * @param mss Data bytes of a full segment.
   * @param smoothed Round trip of the handshake, in ms; -1: not known.
   * @param seed Any number that differs between connections.
   */
  begin(mss: number, smoothed: number, seed: number, now: number): void;
  /** The size of segments changed. */
  setMss(mss: number): void;
  /**
   * Something is about to be sent, and nothing is on its way.
   *
   * @param quiet Whether nothing was sent for a timeout's time.
   */
  resume(quiet: boolean, now: number): void;
  /** `bytes` were sent, for the first time or again, in a recovery that acknowledgments told of. */
  sent(bytes: number): void;
  /** A batch of acknowledgments has ended. */
  acknowledged(ack: AckEvent): void;
  /**
   * A segment counts as lost.
   *
   * @param size Its bytes.
   * @param inFlight Bytes on their way, with it, when it was sent.
   * @param lostSince Bytes that counted as lost since it was sent, with it.
   * @param ownerLimited Whether the owner had too little to send then.
   * @param apart Whether the segment in front of it is not lost.
   */
  segmentLost(
    size: number,
    inFlight: number,
    lostSince: number,
    ownerLimited: boolean,
    apart: boolean,
  ): void;
  /** A loss was found: a recovery begins, with `flight` bytes between SND.UNA and SND.NXT. */
  recoveryBegun(flight: number): void;
  /** It was found by a timer, and no acknowledgment says how to go on. */
  foundByTimer(pipe: number): void;
  /** Everything that was lost has arrived. */
  recovered(fast: boolean): void;
  /** A tail loss probe has repaired a loss that nothing else told of. */
  probeRepaired(flight: number): void;
  /** The retransmission timer ran out, and no recovery ran. */
  timedOut(flight: number): void;
  /** The retransmission timer ran out; one segment goes on top of `pipe`. */
  restart(pipe: number): void;
  /** The losses of this recovery were none. */
  undo(now: number): void;
}
