/**
 * The sessions of one peer (paper 5.4.5, 6.3).
 *
 * A session is `next` from when we answered an initiation until its first packet arrives, which
 * proves that the initiator has the keys; then `current`, the one to send with; then `previous`, so
 * that packets still under way are taken. One that leaves is wiped and taken out of the index.
 *
 * @module
 */

import type { Keypair } from "./keypair.ts";

/** At most three sessions, also listed by our index in a table that all peers share. */
export class Keypairs<Owner> {
  readonly #index: Map<number, Keypair<Owner>>;
  #current: Keypair<Owner> | undefined;
  #previous: Keypair<Owner> | undefined;
  #next: Keypair<Owner> | undefined;

  /** No session yet. */
  constructor(index: Map<number, Keypair<Owner>>) {
    this.#index = index;
  }

  /** The session to send with. */
  get current(): Keypair<Owner> | undefined {
    return this.#current;
  }

  /** Takes a session that a handshake has just given. */
  begin(keypair: Keypair<Owner>): void {
    this.#index.set(keypair.localIndex, keypair);
    this.#drop(this.#previous);
    this.#previous = undefined;
    if (!keypair.isInitiator) {
      this.#drop(this.#next);
      this.#next = keypair;
      return;
    }
    if (this.#next !== undefined) {
      // Both sides began at once: the session that was not confirmed may still receive.
      this.#previous = this.#next;
      this.#next = undefined;
      this.#drop(this.#current);
    } else this.#previous = this.#current;
    this.#current = keypair;
  }

  /** A packet was opened with `keypair`. True when it is the first one of the next session. */
  confirm(keypair: Keypair<Owner>): boolean {
    if (keypair !== this.#next) return false;
    this.#drop(this.#previous);
    this.#previous = this.#current;
    this.#current = keypair;
    this.#next = undefined;
    return true;
  }

  /** Ends all sessions. */
  wipe(): void {
    this.#drop(this.#previous);
    this.#drop(this.#current);
    this.#drop(this.#next);
    this.#previous = this.#current = this.#next = undefined;
  }

  #drop(keypair: Keypair<Owner> | undefined): void {
    if (keypair === undefined) return;
    this.#index.delete(keypair.localIndex);
    keypair.wipe();
  }
}
