/**
 * Cookies (paper 5.3, 5.4.4, 5.4.7): a responder under load answers a handshake message with a
 * cookie instead of computing; the sender shows with mac2, made with that cookie, that it receives
 * what is sent to its address.
 *
 * @module
 */

import { xchacha20poly1305 } from "@noble/ciphers/chacha.js";
import { COOKIE_MS, LABEL_COOKIE } from "./constants.ts";
import { equalBytes, mac1At, mac1Key, mac2At } from "./mac1.ts";
import { COOKIE_REPLY, COOKIE_REPLY_LEN, MAC_LEN, readIndex, writeIndex } from "./messages.ts";
import { hash, mac } from "./noise.ts";

/** Offsets in a cookie reply. */
const RECEIVER = 4;
const NONCE = 8;
const COOKIE = 32;
/** Offset of the sender's index in both handshake messages. */
const SENDER = 4;

/** `HASH(LABEL_COOKIE || publicKey)` */
function cookieKey(publicKey: Uint8Array): Uint8Array {
  return hash(new TextEncoder().encode(LABEL_COOKIE), publicKey);
}

/** The responder's side: one for each device. */
export class CookieIssuer {
  readonly #key: Uint8Array;
  readonly #random: (length: number) => Uint8Array;
  #secret: Uint8Array | undefined;
  #secretAt = 0;

  /** `publicKey` is the device's own. */
  constructor(publicKey: Uint8Array, random: (length: number) => Uint8Array) {
    this.#key = cookieKey(publicKey);
    this.#random = random;
  }

  /** Whether mac2 of a handshake message was made with a cookie given to this source. */
  hasProof(message: Uint8Array, names: Uint8Array, nameAt: number, now: number): boolean {
    if (this.#secret === undefined || now - this.#secretAt >= COOKIE_MS) return false;
    const end = mac2At(message.length);
    const wanted = mac(this.#cookie(this.#secret, names, nameAt), message.subarray(0, end));
    return equalBytes(wanted, message, end);
  }

  /** The cookie reply to a handshake message whose mac1 is right. */
  reply(message: Uint8Array, names: Uint8Array, nameAt: number, now: number): Uint8Array {
    if (this.#secret === undefined || now - this.#secretAt >= COOKIE_MS) {
      this.wipe();
      this.#secret = this.#random(32);
      this.#secretAt = now;
    }
    const mac1 = message.subarray(mac1At(message.length), mac2At(message.length));
    const nonce = this.#random(24);
    const out = new Uint8Array(COOKIE_REPLY_LEN);
    out[0] = COOKIE_REPLY;
    writeIndex(out, RECEIVER, readIndex(message, SENDER));
    out.set(nonce, NONCE);
    const cookie = this.#cookie(this.#secret, names, nameAt);
    out.set(xchacha20poly1305(this.#key, nonce, mac1).encrypt(cookie), COOKIE);
    return out;
  }

  /** Forgets the secret: every cookie given so far is void. */
  wipe(): void {
    this.#secret?.fill(0);
    this.#secret = undefined;
  }

  /** `MAC(secret, address and port)` */
  #cookie(secret: Uint8Array, names: Uint8Array, nameAt: number): Uint8Array {
    const source = new Uint8Array(18);
    source.set(names.subarray(nameAt + 2, nameAt + 4));
    source.set(names.subarray(nameAt + 8, nameAt + 24), 2);
    return mac(secret, source);
  }
}

/** The initiator's side: one for each peer. Puts both MACs on every handshake message. */
export class CookieJar {
  readonly #mac1Key: Uint8Array;
  readonly #cookieKey: Uint8Array;
  readonly #lastMac1 = new Uint8Array(MAC_LEN);
  #sent = false;
  #cookie: Uint8Array | undefined;
  #cookieAt = 0;

  /** `publicKey` is the peer's. */
  constructor(publicKey: Uint8Array) {
    this.#mac1Key = mac1Key(publicKey);
    this.#cookieKey = cookieKey(publicKey);
  }

  /** Fills in mac1, and mac2 when there is a cookie that still holds. */
  addMacs(message: Uint8Array, now: number): void {
    const at1 = mac1At(message.length);
    const at2 = mac2At(message.length);
    message.set(mac(this.#mac1Key, message.subarray(0, at1)), at1);
    this.#lastMac1.set(message.subarray(at1, at2));
    this.#sent = true;
    if (this.#cookie === undefined) return;
    if (now - this.#cookieAt >= COOKIE_MS) this.wipe();
    else message.set(mac(this.#cookie, message.subarray(0, at2)), at2);
  }

  /** Takes a cookie reply to our last handshake message. False when it is none. */
  consumeReply(reply: Uint8Array, now: number): boolean {
    if (!this.#sent) return false;
    const nonce = reply.subarray(NONCE, COOKIE);
    try {
      const cookie = xchacha20poly1305(this.#cookieKey, nonce, this.#lastMac1)
        .decrypt(reply.subarray(COOKIE, COOKIE_REPLY_LEN));
      this.wipe();
      this.#cookie = cookie;
      this.#cookieAt = now;
      // One reply for each message: another one would be a replay.
      this.#sent = false;
      return true;
    } catch {
      return false;
    }
  }

  /** Forgets the cookie. */
  wipe(): void {
    this.#cookie?.fill(0);
    this.#cookie = undefined;
  }
}
