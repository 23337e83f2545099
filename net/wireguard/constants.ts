/**
 * The numbers of the protocol. Sections are those of the WireGuard paper,
 * {@link https://www.wireguard.com/papers/wireguard.pdf}. All times are in milliseconds, all
 * lengths in bytes.
 *
 * @module
 */

// Specification constants.

/** Section 6.1: a new session is wanted after so many messages in one. */
export const REKEY_AFTER_MESSAGES: number = 2 ** 60;
/** Section 6.1: the initiator wants a new session when one is this old. */
export const REKEY_AFTER_MS = 120_000;
/** Section 6.1: a session older than this is not used. */
export const REJECT_AFTER_MS = 180_000;
/** Section 6.4: an unanswered handshake is tried again and again for this long. */
export const REKEY_ATTEMPT_MS = 90_000;
/** Section 6.4: time between two initiations. */
export const REKEY_TIMEOUT_MS = 5_000;
/** Section 6.5: who received data and had nothing to send says so after this long. */
export const KEEPALIVE_TIMEOUT_MS = 10_000;
/** Section 6.6: a cookie, and the secret it is made with, hold for this long. */
export const COOKIE_MS = 120_000;
/** Section 6.1: keys nobody uses are wiped after so many times {@link REJECT_AFTER_MS}. */
export const WIPE_AFTER_REJECTS = 3;
/** Section 5.4.6: content is padded with zeros to a multiple of this. */
export const PADDING = 16;

/** Section 5.4: name of the Noise construction. */
export const CONSTRUCTION = "Noise_IKpsk2_25519_ChaChaPoly_BLAKE2s";
/** Section 5.4: name of the protocol. */
export const IDENTIFIER = "WireGuard v1 zx2c4 Jason@zx2c4.com";
/** Section 5.4: sets the key of mac1 apart. */
export const LABEL_MAC1 = "mac1----";
/** Section 5.4: sets the key of cookies apart. */
export const LABEL_COOKIE = "cookie--";

// Implementation constants.

/**
 * Counters are numbers, exact to 2^53: this is where a session ends here, long before
 * Reject-After-Messages (2^64 - 2^13 - 1). A million packets a second take 285 years to get there.
 */
export const LAST_COUNTER: number = 2 ** 53 - 2 ** 13;
/** Random time of at most this on top of a retry, so that two sides do not stay in step. */
export const JITTER_MS = 334;
/** Initiations of one peer are taken no faster than this. */
export const INITIATION_INTERVAL_MS = 20;
/** Packets of one peer that wait for a session; the oldest is dropped for a new one. */
export const MAX_STAGED = 128;
/**
 * Peers of one device; one more is an error. A peer has at most three sessions and one handshake under
 * way, so this bounds the session indices too, to four times as many.
 */
export const MAX_PEERS = 4096;
/** Largest inner packet: what fits into a UDP datagram over IPv6 behind our header and tag. */
export const MAX_INNER = 65_535 - 8 - 32;
/** Inner MTU that padding does not exceed when none is given. */
export const DEFAULT_MTU = 1420;
/**
 * Handshake messages in one second above which a cookie is asked for. To answer one takes 0.3 ms with
 * `node:crypto` and 1.1 ms with noble: this is a twelfth, or a quarter, of one core.
 */
export const LOAD_HANDSHAKES_PER_SECOND = 250;
/** After the last busy second, cookies are asked for this much longer. */
export const LOAD_HOLD_MS = 1_000;

/** The limits a device works with: those of the paper, unless a test needs them lower. */
export interface Timing {
  /** Messages in one session after which a new one is wanted. @default {about 2 ** 52} */
  readonly rekeyAfterMessages: number;
  /** Messages after which a session is no longer used. @default {2 ** 53 - 2 ** 13} */
  readonly rejectAfterMessages: number;
  /** Age at which the initiator wants a new session, in ms. @default {120000} */
  readonly rekeyAfterMs: number;
  /** Age at which a session is no longer used, in ms. @default {180000} */
  readonly rejectAfterMs: number;
  /** How long an unanswered handshake is tried, in ms. @default {90000} */
  readonly rekeyAttemptMs: number;
  /** Time between two initiations, in ms. @default {5000} */
  readonly rekeyTimeoutMs: number;
  /** Time after which received data is answered by a keepalive, in ms. @default {10000} */
  readonly keepaliveTimeoutMs: number;
}

/** Section 6.1. */
export const SPECIFIED_TIMING: Timing = {
  rekeyAfterMessages: Math.min(REKEY_AFTER_MESSAGES, LAST_COUNTER / 2),
  rejectAfterMessages: LAST_COUNTER,
  rekeyAfterMs: REKEY_AFTER_MS,
  rejectAfterMs: REJECT_AFTER_MS,
  rekeyAttemptMs: REKEY_ATTEMPT_MS,
  rekeyTimeoutMs: REKEY_TIMEOUT_MS,
  keepaliveTimeoutMs: KEEPALIVE_TIMEOUT_MS,
};
