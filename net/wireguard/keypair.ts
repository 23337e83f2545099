/**
 * One session (paper 5.4.5, 5.4.6): two keys, a counter for what is sent and a window for what is
 * received.
 *
 * @module
 */

import type { CryptoSuite, Opener, Sealer } from "./crypto.ts";
import type { SessionKeys } from "./handshake.ts";
import { ReplayWindow } from "./replay.ts";

/** A session of which the keys are derived. */
export class Keypair<Owner> {
  /** Whose session it is. */
  readonly owner: Owner;
  /** Index we gave it; the other side puts it in front of its packets. */
  readonly localIndex: number;
  /** Index the other side gave it. */
  readonly remoteIndex: number;
  /** Whether we began the handshake: only the initiator wants a new session by age. */
  readonly isInitiator: boolean;
  /** When the keys were derived, in ms. */
  readonly createdAt: number;
  /** Seals what we send. */
  readonly sealer: Sealer;
  /** Opens what we receive. */
  readonly opener: Opener;
  /** Counters received. */
  readonly replay: ReplayWindow = new ReplayWindow();
  /** Counter of the next packet. */
  sendCounter = 0;

  /** A session just derived. Wipes `keys`. */
  constructor(
    owner: Owner,
    suite: CryptoSuite,
    keys: SessionKeys,
    localIndex: number,
    isInitiator: boolean,
    now: number,
  ) {
    this.owner = owner;
    this.localIndex = localIndex;
    this.remoteIndex = keys.remoteIndex;
    this.isInitiator = isInitiator;
    this.createdAt = now;
    this.sealer = suite.aead.sealer(keys.send);
    this.opener = suite.aead.opener(keys.receive);
    keys.send.fill(0);
    keys.receive.fill(0);
  }

  /** Forgets the keys. */
  wipe(): void {
    this.sealer.wipe();
    this.opener.wipe();
  }
}
