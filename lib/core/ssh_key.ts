/**
 * Ed25519 key pairs in the file format of OpenSSH (its PROTOCOL.key), so that neither side needs
 * `ssh-keygen`.
 *
 * ```
 * "openssh-key-v1\0"  string cipher  string kdf  string kdf-options  uint32 number of keys
 * string public key   string { uint32 check, uint32 check, string "ssh-ed25519",
 *                              string public, string seed || public, string comment, padding 1 2 3 .. }
 * ```
 *
 * `string` is a big-endian 32-bit length and that many bytes. The keys are not encrypted: the file
 * is 0600 and the key opens nothing but borrowed VMs.
 *
 * @module
 */

import { generateKeyPairSync, randomBytes } from "node:crypto";

const KEY_TYPE = "ssh-ed25519";
const MAGIC = "openssh-key-v1\0";
/** Block size that the private part is padded to when the cipher is `none`, in bytes. */
const BLOCK = 8;

/** An SSH key pair as text. */
export interface SshKeyPair {
  /** `-----BEGIN OPENSSH PRIVATE KEY-----` ...; ends with a line feed. */
  readonly privatePem: string;
  /** `ssh-ed25519 AAAA... comment`, without a line feed. */
  readonly publicLine: string;
}

/** Generates a key pair. `comment` must not hold a line break. */
export function generateSshKey(comment: string): SshKeyPair {
  const pair = generateKeyPairSync("ed25519");
  const jwk = pair.privateKey.export({ format: "jwk" });
  return encodeSshKey(
    Uint8Array.fromBase64(jwk.d ?? "", { alphabet: "base64url" }),
    Uint8Array.fromBase64(jwk.x ?? "", { alphabet: "base64url" }),
    comment,
    randomBytes(4),
  );
}

/**
 * Writes a key pair in OpenSSH's format.
 *
 * @param seed 32-byte private seed (RFC 8032).
 * @param publicKey 32-byte public key.
 * @param comment Shown behind the public key.
 * @param check 4 random bytes; they stand twice in the file.
 */
export function encodeSshKey(
  seed: Uint8Array,
  publicKey: Uint8Array,
  comment: string,
  check: Uint8Array,
): SshKeyPair {
  const publicBlob = concat(sshString(KEY_TYPE), sshString(publicKey));
  const inner = concat(
    check,
    check,
    publicBlob,
    sshString(concat(seed, publicKey)),
    sshString(comment),
  );
  const padding = Uint8Array.from(
    { length: (BLOCK - (inner.length % BLOCK)) % BLOCK },
    (_, i) => i + 1,
  );
  const file = concat(
    new TextEncoder().encode(MAGIC),
    sshString("none"),
    sshString("none"),
    sshString(""),
    uint32(1),
    sshString(publicBlob),
    sshString(concat(inner, padding)),
  );
  const lines = file.toBase64().replace(/.{70}/g, "$&\n").trimEnd();
  return {
    privatePem:
      `-----BEGIN OPENSSH PRIVATE KEY-----\n${lines}\n-----END OPENSSH PRIVATE KEY-----\n`,
    publicLine: `${KEY_TYPE} ${publicBlob.toBase64()} ${comment}`.trimEnd(),
  };
}

function sshString(value: string | Uint8Array): Uint8Array {
  const bytes = typeof value === "string" ? new TextEncoder().encode(value) : value;
  return concat(uint32(bytes.length), bytes);
}

function uint32(value: number): Uint8Array {
  const bytes = new Uint8Array(4);
  new DataView(bytes.buffer).setUint32(0, value);
  return bytes;
}

function concat(...parts: readonly Uint8Array[]): Uint8Array {
  const all = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
  let at = 0;
  for (const part of parts) {
    all.set(part, at);
    at += part.length;
  }
  return all;
}
