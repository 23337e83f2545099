/**
 * Chooses the fastest implementation that works here, by trying each on a known answer.
 *
 * @module
 */

import { Libcrypto } from "../os/libcrypto.ts";
import { nobleAead } from "./aead_noble.ts";
import { nodeAead } from "./aead_node.ts";
import { type Aead, type CryptoSuite, type Dh, KEY_LEN, TAG_LEN } from "./crypto.ts";
import { nobleDh } from "./dh_noble.ts";
import { nodeDh } from "./dh_node.ts";

/** `libcrypto` behind the {@link Aead} interface, for as long as the library is not closed. */
export function libcryptoAead(library: Libcrypto): Aead {
  return {
    name: "libcrypto",
    sealer: (key) => library.sealer(key),
    opener: (key) => library.opener(key),
  };
}

/** The implementation in TypeScript alone. */
export const NOBLE_SUITE: CryptoSuite = { aead: nobleAead, dh: nobleDh };

// Known answers and not a comparison with noble: its first multiplication takes as long as a program
// may take to start.
const AEAD_ANSWER = "5432e72652273d914a6b488e80d824357d3c6690" +
  "c1c6647f913a41ab58e6ff97deb836bd";
/** RFC 7748 section 6.1: a private key, the other side's public key, and the secret they share. */
const DH_PRIVATE = "77076d0a7318a57d3c16c17251b26645df4c2f87ebc0992ab177fba51db92c2a";
const DH_PUBLIC = "de9edb7d7b7dc1b4d35b61c2ece435373f8343c85b78674dadfc7e146f882b4f";
const DH_ANSWER = "4a5d9d5ba4ce2de1728e3bf480350f25e07e21c947d19e3376f09b3c1e161742";

/**
 * The fastest suite that works on this host. Chosen once, when this module is loaded; the library
 * behind it stays loaded until the process ends.
 */
export const FASTEST_SUITE: CryptoSuite = {
  aead: [loadLibcrypto(), nodeAead].find((aead) => aead !== undefined && aeadWorks(aead)) ??
    nobleAead,
  dh: dhWorks(nodeDh) ? nodeDh : nobleDh,
};

function loadLibcrypto(): Aead | undefined {
  const library = Libcrypto.load();
  return library && libcryptoAead(library);
}

/** Whether `aead` gives the bytes it should, opens them, and refuses another counter. */
export function aeadWorks(aead: Aead): boolean {
  const key = new Uint8Array(KEY_LEN).fill(7);
  const text = new Uint8Array(20).fill(9);
  const sealed = new Uint8Array(text.length + TAG_LEN);
  const opened = new Uint8Array(text.length);
  const counter = 2 ** 40 + 1;
  try {
    const sealer = aead.sealer(key);
    const opener = aead.opener(key);
    sealer.seal(counter, text, 0, text.length, sealed, 0);
    const ok = opener.open(counter, sealed, 0, sealed.length, opened, 0) &&
      !opener.open(counter - 1, sealed, 0, sealed.length, text.slice(), 0);
    sealer.wipe();
    opener.wipe();
    return ok && sealed.toHex() === AEAD_ANSWER && opened.toHex() === text.toHex();
  } catch {
    return false;
  }
}

/** Whether `dh` gives the shared secret it should, and refuses a point of low order. */
export function dhWorks(dh: Dh): boolean {
  try {
    const key = dh.key(Uint8Array.fromHex(DH_PRIVATE));
    const shared = key.shared(Uint8Array.fromHex(DH_PUBLIC));
    const refused = key.shared(new Uint8Array(KEY_LEN)) === undefined;
    key.wipe();
    return refused && shared?.toHex() === DH_ANSWER;
  } catch {
    return false;
  }
}
