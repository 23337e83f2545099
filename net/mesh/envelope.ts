/**
 * The control envelope: one UDP datagram that carries what must work before a session exists.
 *
 * ```
 * +---+------------+-----------+------------------------------+---------+
 * | N | network id | nonce     | ciphertext                   | tag     |
 * | 1 | N          | 12        |                              | 16      |
 * +---+------------+-----------+------------------------------+---------+
 *  `---- associated data -----'
 *
 * plaintext
 * +---------+---------+------------+-------------+----------+-----------+-------------+
 * | version | time ms | message id | machine key | peer key | signature | message     |
 * | 1       | 8       | 16         | 32          | 32       | 64        | JSON, UTF-8 |
 * +---------+---------+------------+-------------+----------+-----------+-------------+
 * ```
 *
 * N is 0 (two nodes that share a local key) or 16 (a named network). Lengths are in bytes, the time
 * is big-endian. ChaCha20-Poly1305 (RFC 8439) with a random nonce; the peer's Ed25519 signature is
 * over a context string, the associated data before the nonce, and the plaintext without the
 * signature. Authentication comes first, then size, version, time, replay, signature, and only then
 * is the JSON parsed. What is refused is counted by its reason and never answered.
 *
 * A message is good once at each receiver. It is not bound to one receiver: a recorded request can
 * be replayed to another lender that has the same key, within five minutes, and the answer to it
 * cannot be read by whoever replays it.
 *
 * @module
 */

import { createCipheriv, createDecipheriv, randomBytes } from "node:crypto";
import { type Identity, KEY_LEN, SIGNATURE_LEN, verifySignature } from "../../lib/core/identity.ts";
import { envelopeKeyOf } from "./network_key.ts";

const CIPHER = "chacha20-poly1305";
const NONCE_LEN = 12;
const TAG_LEN = 16;
/** Bytes of a network id on the wire: 16 hex characters. */
export const NETWORK_ID_LEN = 16;

// Plaintext offsets.
const VERSION = 0;
const TIME = 1;
const MESSAGE_ID = 9;
const MESSAGE_ID_LEN = 16;
const MACHINE_KEY = MESSAGE_ID + MESSAGE_ID_LEN;
const PEER_KEY = MACHINE_KEY + KEY_LEN;
const SIGNATURE = PEER_KEY + KEY_LEN;
const MESSAGE = SIGNATURE + SIGNATURE_LEN;

const ENVELOPE_VERSION = 1;
const SIGNING_CONTEXT = new TextEncoder().encode("omerta envelope signature v1");

/** How far a sender's clock may be off, in ms. */
export const MAX_CLOCK_SKEW_MS = 5 * 60_000;
/** Longest message, in bytes of JSON: an envelope stays below the 1280 bytes of any path. */
export const MAX_MESSAGE_BYTES = 1050;
/** Message ids remembered. At the cap the oldest goes, and with it everything as old as it. */
const MAX_SEEN = 16_384;

/** A network that a node belongs to; `id` is empty where two nodes share a local key. */
export interface NetworkKey {
  /** 16 hex characters, or empty. */
  readonly id: string;
  /** Seals this network's envelopes; see {@link envelopeKeyOf}. */
  readonly envelopeKey: Uint8Array;
  /** The network key itself. Secret. */
  readonly key: Uint8Array;
}

/** The network of a 32-byte key that two nodes share without a name. */
export function directNetwork(key: Uint8Array): NetworkKey {
  return { id: "", key, envelopeKey: envelopeKeyOf(key) };
}

/** Why an envelope was refused. One value per drop counter. */
export type EnvelopeFault =
  | "truncated"
  | "unknown-network"
  | "wrong-key"
  | "bad-version"
  | "wrong-time"
  | "replayed"
  | "bad-signature"
  | "not-json";

/** An envelope that was accepted. */
export interface OpenedEnvelope {
  /** The network whose key opened it. */
  readonly network: NetworkKey;
  /** Sender's machine key, vouched for by the peer's signature. */
  readonly machineKey: Uint8Array;
  /** Sender's peer key. */
  readonly peerKey: Uint8Array;
  /** When it was sent, by the sender's clock, in ms since 1970. */
  readonly time: number;
  /** The message: JSON, not checked any further. */
  readonly message: unknown;
}

/** What {@link sealEnvelope} needs beside the message. */
export interface SealOptions {
  /** Time of now, in ms since 1970. */
  readonly now: number;
  /** Source of randomness, for the nonce and the message id. */
  readonly random?: (length: number) => Uint8Array;
}

/**
 * Puts a message into an envelope.
 *
 * @returns The datagram.
 * @throws {RangeError} When the message is longer than {@link MAX_MESSAGE_BYTES}.
 */
export function sealEnvelope(
  message: unknown,
  network: NetworkKey,
  sender: Identity,
  options: SealOptions,
): Uint8Array {
  const random = options.random ?? ((length) => new Uint8Array(randomBytes(length)));
  const body = new TextEncoder().encode(JSON.stringify(message));
  if (body.length > MAX_MESSAGE_BYTES) {
    throw new RangeError(
      `Cannot send a message of ${body.length} bytes: ${MAX_MESSAGE_BYTES} is the most`,
    );
  }
  const id = new TextEncoder().encode(network.id);
  const header = new Uint8Array(1 + id.length + NONCE_LEN);
  header[0] = id.length;
  header.set(id, 1);
  header.set(random(NONCE_LEN), 1 + id.length);

  const plaintext = new Uint8Array(MESSAGE + body.length);
  plaintext[VERSION] = ENVELOPE_VERSION;
  new DataView(plaintext.buffer).setBigUint64(TIME, BigInt(options.now));
  plaintext.set(random(MESSAGE_ID_LEN), MESSAGE_ID);
  plaintext.set(sender.machineKey, MACHINE_KEY);
  plaintext.set(sender.peerKey, PEER_KEY);
  plaintext.set(body, MESSAGE);
  plaintext.set(sender.sign(signedPart(header, plaintext)), SIGNATURE);

  const nonce = header.subarray(1 + id.length);
  const cipher = createCipheriv(CIPHER, network.envelopeKey, nonce, { authTagLength: TAG_LEN });
  cipher.setAAD(header, { plaintextLength: plaintext.length });
  const ciphertext = cipher.update(plaintext);
  cipher.final();
  const datagram = new Uint8Array(header.length + ciphertext.length + TAG_LEN);
  datagram.set(header);
  datagram.set(ciphertext, header.length);
  datagram.set(cipher.getAuthTag(), header.length + ciphertext.length);
  return datagram;
}

/** Opens envelopes and remembers which it has seen. One for each node. */
export class EnvelopeOpener {
  /** Envelopes refused, by reason. */
  readonly faults: Record<EnvelopeFault, number> = {
    "truncated": 0,
    "unknown-network": 0,
    "wrong-key": 0,
    "bad-version": 0,
    "wrong-time": 0,
    "replayed": 0,
    "bad-signature": 0,
    "not-json": 0,
  };
  /** Message id to the sender's time. Insertion order is the order of arrival. */
  readonly #seen = new Map<string, number>();
  /** Nothing sent at or before this time is accepted any more. */
  #floor = 0;

  /**
   * Opens one datagram with the first of `networks` that fits. Never throws.
   *
   * @param networks The networks of this node; several may have the empty id.
   * @returns The message and its sender, or why it was refused.
   */
  open(
    datagram: Uint8Array,
    networks: readonly NetworkKey[],
    now: number,
  ): OpenedEnvelope | EnvelopeFault {
    const result = this.#open(datagram, networks, now);
    if (typeof result === "string") this.faults[result]++;
    return result;
  }

  #open(
    datagram: Uint8Array,
    networks: readonly NetworkKey[],
    now: number,
  ): OpenedEnvelope | EnvelopeFault {
    const idLength = datagram[0];
    if (idLength !== 0 && idLength !== NETWORK_ID_LEN) return "unknown-network";
    const headerLength = 1 + idLength + NONCE_LEN;
    if (datagram.length < headerLength + MESSAGE + TAG_LEN) return "truncated";
    const id = new TextDecoder().decode(datagram.subarray(1, 1 + idLength));
    let known = false;
    for (const network of networks) {
      if (network.id !== id) continue;
      known = true;
      const plaintext = decrypt(datagram, headerLength, network.envelopeKey);
      if (plaintext === undefined) continue;
      return this.#check(plaintext, datagram.subarray(0, headerLength), network, now);
    }
    return known ? "wrong-key" : "unknown-network";
  }

  #check(
    plaintext: Uint8Array,
    header: Uint8Array,
    network: NetworkKey,
    now: number,
  ): OpenedEnvelope | EnvelopeFault {
    if (plaintext[VERSION] !== ENVELOPE_VERSION) return "bad-version";
    const view = new DataView(plaintext.buffer, plaintext.byteOffset, plaintext.byteLength);
    const time = Number(view.getBigUint64(TIME));
    if (Math.abs(now - time) > MAX_CLOCK_SKEW_MS) return "wrong-time";
    const messageId = plaintext.subarray(MESSAGE_ID, MESSAGE_ID + MESSAGE_ID_LEN).toHex();
    if (time <= this.#floor || this.#seen.has(messageId)) return "replayed";
    const peerKey = plaintext.slice(PEER_KEY, PEER_KEY + KEY_LEN);
    const signature = plaintext.subarray(SIGNATURE, SIGNATURE + SIGNATURE_LEN);
    if (!verifySignature(peerKey, signedPart(header, plaintext), signature)) {
      return "bad-signature";
    }
    this.#remember(messageId, time, now);
    let message: unknown;
    try {
      message = JSON.parse(
        new TextDecoder("utf-8", { fatal: true }).decode(plaintext.subarray(MESSAGE)),
      );
    } catch {
      return "not-json";
    }
    const machineKey = plaintext.slice(MACHINE_KEY, MACHINE_KEY + KEY_LEN);
    return { network, machineKey, peerKey, time, message };
  }

  #remember(messageId: string, time: number, now: number): void {
    for (const [id, sent] of this.#seen) {
      const expired = now - sent > MAX_CLOCK_SKEW_MS;
      if (!expired && this.#seen.size < MAX_SEEN) break;
      this.#seen.delete(id);
      // Forgotten before its time ran out: whatever is as old could be a replay of it.
      if (!expired) this.#floor = Math.max(this.#floor, sent);
    }
    this.#seen.set(messageId, time);
  }
}

function decrypt(
  datagram: Uint8Array,
  headerLength: number,
  key: Uint8Array,
): Uint8Array | undefined {
  const nonce = datagram.subarray(headerLength - NONCE_LEN, headerLength);
  const ciphertext = datagram.subarray(headerLength, datagram.length - TAG_LEN);
  const decipher = createDecipheriv(CIPHER, key, nonce, { authTagLength: TAG_LEN });
  decipher.setAAD(datagram.subarray(0, headerLength), { plaintextLength: ciphertext.length });
  decipher.setAuthTag(datagram.subarray(datagram.length - TAG_LEN));
  const plaintext = new Uint8Array(decipher.update(ciphertext)); // not a Buffer: slice() copies
  try {
    decipher.final();
  } catch {
    return undefined; // the library's only way to say that the tag is wrong
  }
  return plaintext;
}

/** The bytes that the sender signs: context, length and network id, plaintext without signature. */
function signedPart(header: Uint8Array, plaintext: Uint8Array): Uint8Array {
  const id = header.subarray(0, header.length - NONCE_LEN);
  const before = plaintext.subarray(0, SIGNATURE);
  const after = plaintext.subarray(MESSAGE);
  const out = new Uint8Array(SIGNING_CONTEXT.length + id.length + before.length + after.length);
  out.set(SIGNING_CONTEXT);
  out.set(id, SIGNING_CONTEXT.length);
  out.set(before, SIGNING_CONTEXT.length + id.length);
  out.set(after, SIGNING_CONTEXT.length + id.length + before.length);
  return out;
}
