/**
 * What a VM's root shell is told so that a WireGuard of the borrower's computer becomes another peer
 * of the VM's wg0, beside the node. It is kept over a restart of the VM.
 *
 * @module
 */

/** The image has no `wg`. */
export const NO_WG = 3;

/** Begins the part of wg0.conf that is ours; it goes to the end of the file. */
const MARK = "# client of the borrower";
/** Keepalive of the VM towards a client that it has met, in s: either side may begin again. */
const KEEPALIVE_S = 15;

/** Takes the former client away, when there is one. */
const REMOVE = `set -eu
command -v wg >/dev/null || exit ${NO_WG}
file=/etc/wireguard/wg0.conf
former=$(sed -n '/^${MARK}$/,$ s/^PublicKey = //p' "$file")
[ -z "$former" ] || wg set wg0 peer "$former" remove
sed -i '/^${MARK}$/,$d' "$file"
`;

/** The script that takes the client away. */
export function removeClientScript(): string {
  return REMOVE;
}

/**
 * The script that adds a client, in place of a former one. The client has to begin: only then does
 * the VM know where it is.
 *
 * @param publicKey The client's public key, base64.
 * @param address The client's address in the tunnel.
 */
export function addClientScript(publicKey: string, address: string): string {
  return `${REMOVE}cat >>"$file" <<'END'
${MARK}
[Peer]
PublicKey = ${publicKey}
AllowedIPs = ${address}/32
PersistentKeepalive = ${KEEPALIVE_S}
END
wg set wg0 peer '${publicKey}' allowed-ips ${address}/32 persistent-keepalive ${KEEPALIVE_S}
`;
}
