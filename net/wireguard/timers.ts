/**
 * The timers of one peer (paper section 6), as deadlines: events set them, {@link Timers.expire}
 * says which actions are due. Functions are named by the event after which they are called; this
 * file can be read next to the paper.
 *
 * @module
 */

import { JITTER_MS, type Timing, WIPE_AFTER_REJECTS } from "./constants.ts";

/** What a peer has to do; {@link Timers.expire} returns a sum of these. */
export const ACTION = {
  /** Send an initiation again: the last one was not answered. */
  retry: 1,
  /** Give up the handshake: drop what waits for it. */
  giveUp: 2,
  /** Begin a handshake: data was sent and nothing came back. */
  initiate: 4,
  /** Send a keepalive. */
  keepalive: 8,
  /** Forget all session keys. */
  wipe: 16,
} as const;

/** The earliest deadline of all peers of a device, or something earlier. */
export interface Schedule {
  /** In ms; Infinity when there is none. */
  due: number;
}

const NEVER = Infinity;

/** The deadlines of one peer. */
export class Timers {
  readonly #timing: Timing;
  readonly #schedule: Schedule;
  readonly #jitter: () => number;
  /** Initiations that may follow the first one: paper 6.4. */
  readonly #maxAttempts: number;
  #retransmitAt = NEVER;
  #sendKeepaliveAt = NEVER;
  #newHandshakeAt = NEVER;
  #wipeAt = NEVER;
  #persistentAt = NEVER;
  #needAnotherKeepalive = false;
  #attempts = 0;
  #persistentMs = 0;
  /** Drawn for each handshake and not for each packet: it allocates. */
  #jitterMs = 0;

  /** `jitter` gives a random number from 0 to 1. */
  constructor(timing: Timing, schedule: Schedule, jitter: () => number) {
    this.#timing = timing;
    this.#schedule = schedule;
    this.#jitter = jitter;
    this.#maxAttempts = Math.floor(timing.rekeyAttemptMs / timing.rekeyTimeoutMs);
  }

  /** The earliest deadline, in ms; Infinity when there is none. */
  get due(): number {
    return Math.min(
      this.#retransmitAt,
      this.#sendKeepaliveAt,
      this.#newHandshakeAt,
      this.#wipeAt,
      this.#persistentAt,
    );
  }

  /** Should be called when the interval is set: the first keepalive is due at once. 0 is off. */
  persistentKeepaliveSet(seconds: number, now: number): void {
    this.#persistentMs = seconds * 1000;
    this.#persistentAt = seconds > 0 ? this.#at(now) : NEVER;
  }

  /** Should be called after a packet with content was sent. */
  dataSent(now: number): void {
    if (this.#newHandshakeAt !== NEVER) return;
    const { keepaliveTimeoutMs, rekeyTimeoutMs } = this.#timing;
    this.#newHandshakeAt = this.#at(now + keepaliveTimeoutMs + rekeyTimeoutMs + this.#jitterMs);
  }

  /** Should be called after a packet with content was received. */
  dataReceived(now: number): void {
    if (this.#sendKeepaliveAt !== NEVER) this.#needAnotherKeepalive = true;
    else this.#sendKeepaliveAt = this.#at(now + this.#timing.keepaliveTimeoutMs);
  }

  /** Should be called after any packet of a session was sent, keepalives too. */
  anyAuthenticatedPacketSent(): void {
    this.#sendKeepaliveAt = NEVER;
  }

  /** Should be called after a keepalive that {@link expire} asked for was sent. */
  keepaliveSent(now: number): void {
    if (!this.#needAnotherKeepalive) return;
    this.#needAnotherKeepalive = false;
    this.#sendKeepaliveAt = this.#at(now + this.#timing.keepaliveTimeoutMs);
  }

  /** Should be called after any message of the peer was authenticated. */
  anyAuthenticatedPacketReceived(): void {
    this.#newHandshakeAt = NEVER;
  }

  /** Should be called before a packet is sent and after one was received, handshakes included. */
  anyAuthenticatedPacketTraversal(now: number): void {
    if (this.#persistentMs > 0) this.#persistentAt = this.#at(now + this.#persistentMs);
  }

  /** Should be called when something other than a missing answer asks for a handshake. */
  handshakeWanted(): void {
    this.#attempts = 0;
  }

  /** Should be called when an initiation was wanted at a time at which none may be sent yet. */
  handshakeDeferred(now: number): void {
    if (this.#retransmitAt === NEVER) this.handshakeInitiated(now);
  }

  /** Should be called after an initiation was sent. */
  handshakeInitiated(now: number): void {
    this.#jitterMs = this.#jitter() * JITTER_MS;
    this.#retransmitAt = this.#at(now + this.#timing.rekeyTimeoutMs + this.#jitterMs);
  }

  /** Should be called after a session was confirmed: by a response, or by its first packet. */
  handshakeComplete(): void {
    this.#retransmitAt = NEVER;
    this.#attempts = 0;
  }

  /** Should be called after session keys were derived. */
  sessionDerived(now: number): void {
    this.#wipeAt = this.#at(now + this.#timing.rejectAfterMs * WIPE_AFTER_REJECTS);
  }

  /** Takes the deadlines that have passed and returns the {@link ACTION}s they ask for. */
  expire(now: number): number {
    let actions = 0;
    if (now >= this.#retransmitAt) {
      this.#retransmitAt = NEVER;
      if (this.#attempts >= this.#maxAttempts) {
        actions |= ACTION.giveUp;
        this.#sendKeepaliveAt = NEVER;
        this.#needAnotherKeepalive = false;
        // Half a handshake is wiped in time even when no session ever was.
        if (this.#wipeAt === NEVER) this.sessionDerived(now);
      } else {
        this.#attempts++;
        actions |= ACTION.retry;
      }
    }
    if (now >= this.#sendKeepaliveAt) {
      this.#sendKeepaliveAt = NEVER;
      actions |= ACTION.keepalive;
    }
    if (now >= this.#newHandshakeAt) {
      this.#newHandshakeAt = NEVER;
      actions |= ACTION.initiate;
    }
    if (now >= this.#wipeAt) {
      this.#wipeAt = NEVER;
      actions |= ACTION.wipe;
    }
    if (now >= this.#persistentAt) {
      this.#persistentAt = this.#at(now + this.#persistentMs);
      actions |= ACTION.keepalive;
    }
    return actions;
  }

  /** Forgets all deadlines. */
  clear(): void {
    this.#retransmitAt = NEVER;
    this.#sendKeepaliveAt = NEVER;
    this.#newHandshakeAt = NEVER;
    this.#wipeAt = NEVER;
    this.#persistentAt = NEVER;
    this.#needAnotherKeepalive = false;
    this.#attempts = 0;
  }

  #at(at: number): number {
    if (at < this.#schedule.due) this.#schedule.due = at;
    return at;
  }
}
