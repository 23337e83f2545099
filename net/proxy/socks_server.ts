/**
 * A SOCKS5 server: programs of this computer reach what is inside, by name or address, with TCP and,
 * where there is UDP inside, with UDP. Names are never looked up here.
 *
 * @module
 */

import type { StreamAddress } from "../os/stream_socket.ts";
import type { Dialer } from "./dialer.ts";
import type { ProxyLoop } from "./proxy_loop.ts";
import { ProxyServer } from "./proxy_server.ts";
import { Association, MAX_ASSOCIATIONS, type SocksUdpParts } from "./socks_udp.ts";
import { Socks5Conversation, type SocksCredentials } from "./socks5.ts";

/** What a SOCKS5 server is made of. */
export interface SocksOptions {
  /** Where to listen. Without credentials everybody who reaches it may use it. */
  readonly listen: StreamAddress;
  /** Who may use it. @default {everybody} */
  readonly credentials?: SocksCredentials;
  /** UDP for clients; only when it listens on an address and port. @default {none} */
  readonly udp?: SocksUdpParts;
}

/**
 * Begins to serve.
 *
 * @throws {OmertaError} `port-in-use`, `listen-failed`.
 */
export function openSocks(loop: ProxyLoop, dialer: Dialer, options: SocksOptions): ProxyServer {
  const { listen, credentials, udp } = options;
  if (udp === undefined || listen.kind !== "tcp") {
    const converse = (): Socks5Conversation => new Socks5Conversation(credentials);
    return new ProxyServer(loop, { listen, dialer, converse });
  }
  const open = new Set<Association>();
  return new ProxyServer(loop, {
    listen,
    dialer,
    converse: () => new Socks5Conversation(credentials, true),
    associate: (socket, counters) => {
      // The address that it has reached here: the one that is listened on may be every address.
      const { remoteAddress: client, localAddress: address } = socket;
      if (client === undefined || address === undefined) return undefined;
      if (open.size >= MAX_ASSOCIATIONS) return undefined;
      const onClose = (gone: Association): void => void open.delete(gone);
      const association = Association.open({ ...udp, loop, counters, client, address, onClose });
      if (association !== undefined) open.add(association);
      return association;
    },
  });
}
