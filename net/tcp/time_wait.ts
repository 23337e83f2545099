/**
 * What is left of a connection in TIME-WAIT (RFC 9293 section 3.6): enough to acknowledge a FIN that
 * comes again, to refuse old segments, and to let a new connection of either side begin early
 * (RFC 6191).
 *
 * @module
 */

import { TCP_FLAG } from "../wire/tcp.ts";
import type { Segment } from "./_segment.ts";
import { sendBareAck } from "./_segment_write.ts";
import { FLOW, stampAt, type Tcb } from "./_tcb.ts";
import type { IpAddress } from "./address.ts";
import type { Flow } from "./flow_table.ts";
import type { IpOutput } from "./ip_out.ts";
import { seqBefore } from "./sequence.ts";
import type { Timed } from "./timers.ts";

/** 2 MSL, in ms; Linux has the same, RFC 9293 section 3.4.2 suggests four minutes. */
const TIME_WAIT_MS = 60_000;
/** Age from which it gives its port up to a new connection of ours, in ms: a tick of any timestamps. */
const REUSE_MS = 1000;
/** Least time between two answers, in ms (RFC 5961 section 7). */
const ANSWER_MS = 500;

/** What to do with a segment that met a connection in TIME-WAIT. */
export type TimeWaitVerdict = "done" | "over" | "new";

/** One connection in TIME-WAIT. */
export class TimeWait implements Flow, Timed {
  /** What kind of flow it is. */
  readonly kind = FLOW.timeWait;
  /** Our address. */
  readonly local: IpAddress;
  /** Our port. */
  readonly localPort: number;
  /** Their address. */
  readonly remote: IpAddress;
  /** Their port. */
  readonly remotePort: number;
  /** See {@link Flow}. */
  hash = 0;
  /** See {@link Flow}. */
  next: Flow | undefined;
  /** See {@link Timed}. */
  armedAt: number = Infinity;
  /** See {@link Timed}. */
  heapIndex = -1;
  /** When it ends, in ms. */
  endsAt: number;
  readonly #sequence: number;
  readonly #expected: number;
  readonly #timestamps: boolean;
  readonly #recent: number;
  readonly #stamp: number;
  readonly #since: number;
  #answeredAt = -Infinity;

  /** What remains of `t`, which has ended in order at `now`. */
  constructor(t: Tcb, now: number) {
    this.local = t.local;
    this.localPort = t.localPort;
    this.remote = t.remote;
    this.remotePort = t.remotePort;
    this.endsAt = now + TIME_WAIT_MS;
    this.#sequence = t.nxt;
    this.#expected = t.receive.next;
    this.#timestamps = t.timestamps;
    this.#recent = t.recentValue;
    this.#stamp = stampAt(t, now);
    this.#since = now;
  }

  /**
   * Whether we may connect from its port already. What the other side sent before has an older
   * timestamp than its answer will have, so PAWS refuses it (RFC 6191 section 2, and RFC 7323 appendix B).
   */
  reusable(now: number): boolean {
    return this.#timestamps && now - this.#since >= REUSE_MS;
  }

  /** Takes a segment (RFC 9293 section 3.10.7.4, RFC 6191 section 2). */
  input(s: Segment, ip: IpOutput, now: number): TimeWaitVerdict {
    const { options } = s;
    const stamped = this.#timestamps && options.timestamps;
    if (s.has(TCP_FLAG.rst)) return s.sequence === this.#expected ? "over" : "done";
    if (s.has(TCP_FLAG.syn) && !s.has(TCP_FLAG.ack)) {
      const later = stamped
        ? seqBefore(this.#recent, options.value)
        : seqBefore(this.#expected, s.sequence);
      if (later) return "new";
    }
    // The last FIN again: its acknowledgment was lost, so the time begins anew.
    const fin = s.has(TCP_FLAG.fin);
    if (fin) this.endsAt = now + TIME_WAIT_MS;
    if (s.sequenceLength === 0) return "done";
    if (!fin && now - this.#answeredAt < ANSWER_MS) return "done";
    this.#answeredAt = now;
    const stamp = (this.#stamp + Math.floor(now - this.#since)) | 0;
    sendBareAck(
      ip,
      this.local,
      this.localPort,
      this.remote,
      this.remotePort,
      this.#sequence,
      this.#expected,
      0,
      this.#timestamps ? stamp : undefined,
      this.#recent,
    );
    return "done";
  }
}
