/**
 * The handshake (paper 5.4.2 to 5.4.5): two messages, after which both sides hold the same two
 * keys. Bytes in, bytes or keys or a fault word out; no I/O, no clock.
 *
 * ```
 *            createInitiation               consumeResponse -> keys
 *  nothing ----------------------> initiated ------------------------> nothing
 *
 *            consumeInitiation              createResponse -> keys
 *  nothing ----------------------> consumed -------------------------> nothing
 * ```
 *
 * The two are independent, so that when both sides begin at once, as they do to punch a hole, each
 * gets its answer and both sessions are good. A new initiation, made or taken, replaces the one
 * before. A message that is refused leaves the state as it was: a forgery cannot end a handshake.
 *
 * @module
 */

import type { Dh, DhKey } from "./crypto.ts";
import {
  INITIATION,
  INITIATION_LEN,
  MACS_LEN,
  readIndex,
  RESPONSE,
  RESPONSE_LEN,
  writeIndex,
} from "./messages.ts";
import { SymmetricState } from "./noise.ts";
import { isLater, TAI64N_LEN } from "./tai64n.ts";

/** Offsets in an initiation. */
const SENDER = 4;
const EPHEMERAL = 8;
const STATIC = 40;
const TIMESTAMP = 88;
/** Offsets in a response. */
const RECEIVER = 8;
const RESPONSE_EPHEMERAL = 12;
const NOTHING = 44;

const EMPTY = new Uint8Array(0);

/** Who we are and what we compute with. */
export interface Identity {
  /** Our static key. */
  readonly key: DhKey;
  /** Makes the ephemeral keys. */
  readonly dh: Dh;
  /** Random bytes. */
  readonly random: (length: number) => Uint8Array;
}

/** What a finished handshake gives. The receiver of this wipes the keys. */
export interface SessionKeys {
  /** Key we seal with, 32 bytes. */
  readonly send: Uint8Array;
  /** Key we open with, 32 bytes. */
  readonly receive: Uint8Array;
  /** Index the other side gave the session, as a signed number. */
  readonly remoteIndex: number;
}

/** An initiation of which the sender is known but not yet proved. */
export interface OpenedInitiation {
  /** Static public key of the sender. */
  readonly remoteStatic: Uint8Array;
  /** Running state behind the static key. */
  readonly state: SymmetricState;
}

/** Why an initiation was refused. */
export type InitiationFault = "forged" | "replayed";

/** Opens the static key of an initiation, which names the peer. Undefined when it is forged. */
export function openInitiation(
  identity: Identity,
  message: Uint8Array,
): OpenedInitiation | undefined {
  const ephemeral = message.subarray(EPHEMERAL, STATIC);
  const state = SymmetricState.start(identity.key.publicKey);
  state.mixKey(ephemeral);
  state.mixHash(ephemeral);
  // es
  const secret = identity.key.shared(ephemeral);
  if (secret !== undefined) {
    const key = state.mixKeyToKey(secret);
    secret.fill(0);
    const remoteStatic = state.openAndHash(key, message.subarray(STATIC, TIMESTAMP));
    if (remoteStatic !== undefined) return { remoteStatic, state };
  }
  state.wipe();
  return undefined;
}

/** What is kept until the response to our initiation arrives. */
interface Initiated {
  readonly state: SymmetricState;
  readonly ephemeral: DhKey;
}

/** What is kept between taking an initiation and answering it. */
interface Consumed {
  readonly state: SymmetricState;
  readonly remoteEphemeral: Uint8Array;
  readonly remoteIndex: number;
}

/** The handshake with one peer. */
export class Handshake {
  readonly #identity: Identity;
  readonly #remoteStatic: Uint8Array;
  /** DH(S_i, S_r), the same in every handshake. */
  readonly #staticSecret: Uint8Array;
  readonly #presharedKey: Uint8Array;
  /** Greatest timestamp taken from this peer. */
  readonly #timestamp = new Uint8Array(TAI64N_LEN);
  #initiated: Initiated | undefined;
  #consumed: Consumed | undefined;

  private constructor(identity: Identity, remoteStatic: Uint8Array, staticSecret: Uint8Array) {
    this.#identity = identity;
    this.#remoteStatic = remoteStatic;
    this.#staticSecret = staticSecret;
    this.#presharedKey = new Uint8Array(32);
  }

  /** Undefined when the peer's public key is a point of low order. */
  static with(identity: Identity, remoteStatic: Uint8Array): Handshake | undefined {
    const secret = identity.key.shared(remoteStatic);
    return secret && new Handshake(identity, remoteStatic, secret);
  }

  /** Takes a copy of the preshared key; undefined means 32 zero bytes (paper 5.2). */
  setPresharedKey(key: Uint8Array | undefined): void {
    if (key === undefined) this.#presharedKey.fill(0);
    else this.#presharedKey.set(key);
  }

  /** The first message, without MACs. `timestamp` must be later than that of the last one. */
  createInitiation(localIndex: number, timestamp: Uint8Array): Uint8Array {
    this.#clearInitiated();
    const message = new Uint8Array(INITIATION_LEN);
    message[0] = INITIATION;
    writeIndex(message, SENDER, localIndex);
    const state = SymmetricState.start(this.#remoteStatic);
    // e
    const ephemeral = this.#newEphemeral();
    this.#initiated = { state, ephemeral };
    message.set(ephemeral.publicKey, EPHEMERAL);
    state.mixKey(ephemeral.publicKey);
    state.mixHash(ephemeral.publicKey);
    // es: cannot be of low order, or this peer would not have been taken
    const secret = ephemeral.shared(this.#remoteStatic) ?? new Uint8Array(32);
    const key = state.mixKeyToKey(secret);
    secret.fill(0);
    // s
    message.set(state.sealAndHash(key, this.#identity.key.publicKey), STATIC);
    // ss
    message.set(state.sealAndHash(state.mixKeyToKey(this.#staticSecret), timestamp), TIMESTAMP);
    return message;
  }

  /** Takes a first message of this peer. Undefined when it was taken. */
  consumeInitiation(opened: OpenedInitiation, message: Uint8Array): InitiationFault | undefined {
    const { state } = opened;
    // ss
    const key = state.mixKeyToKey(this.#staticSecret);
    const timestamp = state.openAndHash(
      key,
      message.subarray(TIMESTAMP, INITIATION_LEN - MACS_LEN),
    );
    const fault = timestamp === undefined
      ? "forged"
      : isLater(timestamp, this.#timestamp)
      ? undefined
      : "replayed";
    if (timestamp === undefined || fault !== undefined) {
      state.wipe();
      return fault;
    }
    this.#clearConsumed();
    this.#timestamp.set(timestamp);
    this.#consumed = {
      state,
      remoteEphemeral: message.slice(EPHEMERAL, STATIC),
      remoteIndex: readIndex(message, SENDER),
    };
    return undefined;
  }

  /**
   * The second message, without MACs, and the keys. Undefined when no initiation was taken, or its
   * ephemeral key is a point of low order.
   */
  createResponse(localIndex: number): { message: Uint8Array; keys: SessionKeys } | undefined {
    if (this.#consumed === undefined) return undefined;
    const { state, remoteEphemeral, remoteIndex } = this.#consumed;
    const message = new Uint8Array(RESPONSE_LEN);
    message[0] = RESPONSE;
    writeIndex(message, SENDER, localIndex);
    writeIndex(message, RECEIVER, remoteIndex);
    // e
    const ephemeral = this.#newEphemeral();
    message.set(ephemeral.publicKey, RESPONSE_EPHEMERAL);
    state.mixHash(ephemeral.publicKey);
    state.mixKey(ephemeral.publicKey);
    // ee, se
    const mixed = mixShared(state, ephemeral, remoteEphemeral) &&
      mixShared(state, ephemeral, this.#remoteStatic);
    ephemeral.wipe();
    if (!mixed) {
      this.#clearConsumed();
      return undefined;
    }
    // psk
    const key = state.mixPresharedKey(this.#presharedKey);
    message.set(state.sealAndHash(key, EMPTY), NOTHING);
    const [receive, send] = state.split();
    this.#clearConsumed();
    return { message, keys: { send, receive, remoteIndex } };
  }

  /** Takes the second message. Undefined when it is forged or none is waited for. */
  consumeResponse(message: Uint8Array): SessionKeys | undefined {
    if (this.#initiated === undefined) return undefined;
    const { ephemeral } = this.#initiated;
    const remote = message.subarray(RESPONSE_EPHEMERAL, NOTHING);
    const state = this.#initiated.state.clone();
    state.mixHash(remote);
    state.mixKey(remote);
    if (mixShared(state, ephemeral, remote) && mixShared(state, this.#identity.key, remote)) {
      const key = state.mixPresharedKey(this.#presharedKey);
      const sealed = message.subarray(NOTHING, RESPONSE_LEN - MACS_LEN);
      if (state.openAndHash(key, sealed) !== undefined) {
        const [send, receive] = state.split();
        this.#clearInitiated();
        return { send, receive, remoteIndex: readIndex(message, SENDER) };
      }
    }
    state.wipe();
    return undefined;
  }

  /** Ends all handshakes and forgets their keys, but not which timestamps were seen. */
  clear(): void {
    this.#clearInitiated();
    this.#clearConsumed();
  }

  /** Forgets everything; no handshake is possible afterwards. */
  wipe(): void {
    this.clear();
    this.#staticSecret.fill(0);
    this.#presharedKey.fill(0);
  }

  #clearInitiated(): void {
    this.#initiated?.state.wipe();
    this.#initiated?.ephemeral.wipe();
    this.#initiated = undefined;
  }

  #clearConsumed(): void {
    this.#consumed?.state.wipe();
    this.#consumed = undefined;
  }

  #newEphemeral(): DhKey {
    const bytes = this.#identity.random(32);
    const key = this.#identity.dh.key(bytes);
    bytes.fill(0);
    return key;
  }
}

/** `C := KDF1(C, DH(key, publicKey))`; false for a point of low order. */
function mixShared(state: SymmetricState, key: DhKey, publicKey: Uint8Array): boolean {
  const secret = key.shared(publicKey);
  if (secret === undefined) return false;
  state.mixKey(secret);
  secret.fill(0);
  return true;
}
