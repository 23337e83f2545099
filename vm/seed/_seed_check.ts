/**
 * Refuses seed options that could mean more in the guest than they say: a line break in a key would
 * be another line of `authorized_keys` or of `wg0.conf`, where `PostUp` runs commands as root.
 *
 * @module
 */

import { EXIT, OmertaError } from "../../lib/core/errors.ts";
import type { SeedOptions } from "./seed_options.ts";

const KEYS_MAX = 64;
const KEY_LINE_MAX = 16 * 1024;

/** RFC 1123 section 2.1: one label of a host name. */
const HOSTNAME_REGEXP = /^[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?$/;
const VM_ID_REGEXP = /^[0-9a-f]{16}$/;
const MAC_REGEXP = /^[0-9a-f]{2}(?::[0-9a-f]{2}){5}$/;
/** RFC 4253 section 6.6 names and base64, then a comment. */
const KEY_LINE_REGEXP = /^[a-z0-9@.-]+ [A-Za-z0-9+/]+={0,2}(?: [^\p{Cc}\u2028\u2029]*)?$/u;
const PEM_REGEXP =
  /^-----BEGIN OPENSSH PRIVATE KEY-----\n(?:[A-Za-z0-9+/=]+\n)+-----END OPENSSH PRIVATE KEY-----\n?$/;
/** 32 bytes in base64. */
const WG_KEY_REGEXP = /^[A-Za-z0-9+/]{43}=$/;
const CIDR_REGEXP = /^[0-9]{1,3}(?:\.[0-9]{1,3}){3}\/[0-9]{1,2}$/;

/** Throws `seed-invalid` when anything in `o` cannot be used. */
export function checkSeedOptions(o: SeedOptions): void {
  check(VM_ID_REGEXP, "the VM id", o.vmId, "16 hex characters");
  check(HOSTNAME_REGEXP, "the host name", o.hostname, "1 to 63 letters, digits and hyphens");
  if (o.sshAuthorizedKeys.length > KEYS_MAX) {
    refuse("the list of SSH keys", `${o.sshAuthorizedKeys.length} long`, `at most ${KEYS_MAX}`);
  }
  for (const key of o.sshAuthorizedKeys) {
    if (key.length > KEY_LINE_MAX) {
      refuse("an SSH key", `${key.length} characters`, `at most ${KEY_LINE_MAX}`);
    }
    check(KEY_LINE_REGEXP, "an SSH key", key, "one line: type, base64 and a comment");
  }
  // A private key is never quoted in an error.
  if (!PEM_REGEXP.test(o.hostKey.privatePem)) {
    refuse("the private host key", "something else", "OpenSSH format");
  }
  check(KEY_LINE_REGEXP, "the public host key", o.hostKey.publicLine, "one line");
  if (o.network.kind !== "none" && o.network.mac !== undefined) {
    check(MAC_REGEXP, "the hardware address", o.network.mac, "six pairs of hex digits");
  }
  if (o.natMac !== undefined) {
    check(MAC_REGEXP, "the second hardware address", o.natMac, "six pairs of hex digits");
  }
  if (o.wireguard) checkWireGuard(o.wireguard);
}

function checkWireGuard(wg: NonNullable<SeedOptions["wireguard"]>): void {
  const want = "32 bytes in base64";
  if (!WG_KEY_REGEXP.test(wg.privateKey)) refuse("the private tunnel key", "something else", want);
  check(WG_KEY_REGEXP, "the borrower's tunnel key", wg.peerPublicKey, want);
  if (wg.presharedKey !== undefined && !WG_KEY_REGEXP.test(wg.presharedKey)) {
    refuse("the preshared key", "something else", want);
  }
  check(CIDR_REGEXP, "the tunnel address", wg.address, "an IPv4 address and prefix length");
  check(/^192\.168\.100\.1:51820$/, "the tunnel endpoint", wg.endpoint, "192.168.100.1:51820");
  const seconds = wg.keepaliveSeconds;
  if (!Number.isInteger(seconds) || seconds < 0 || seconds > 65535) {
    refuse("the keepalive", String(seconds), "0 to 65535 whole seconds");
  }
}

function check(pattern: RegExp, what: string, got: string, want: string): void {
  if (!pattern.test(got)) refuse(what, JSON.stringify(got.slice(0, 80)), want);
}

function refuse(what: string, got: string, want: string): never {
  throw new OmertaError("seed-invalid", `Cannot write the seed: ${what} is ${got}, need ${want}`, {
    exit: EXIT.usage,
  });
}
