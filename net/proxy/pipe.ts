/**
 * The unix socket by which another process of the same user reaches one port inside, with nothing in
 * between: what a ProxyCommand needs.
 *
 * ```
 * client: CONNECT HOST PORT\n        at most 300 bytes
 * server: OK\n                       then bytes, both ways, as they are
 *    or:  ERR CODE WORDS\n           and the end
 * ```
 *
 * CODE is `bad-request` or an {@link OpenFault}; WORDS are for a person to read.
 *
 * @module
 */

import type { Dialer } from "./dialer.ts";
import type { ProxyLoop } from "./proxy_loop.ts";
import { type Conversation, ProxyServer, type Turn } from "./proxy_server.ts";
import type { OpenFault } from "./splice.ts";

/** Longest first line, with its end, in bytes. */
export const MAX_LINE = 300;
const NEWLINE = 10;
const REQUEST = /^CONNECT ([!-~]{1,255}) ([1-9][0-9]{0,4})$/;

/** What is wrong, for a person to read. */
const WORDS: Readonly<Record<OpenFault, string>> = {
  "unknown-host": "No such host in the tunnel",
  "no-port": "Too many connections to that port",
  "in-use": "The port is in use",
  "too-many-connections": "Too many connections",
  refused: "Connection refused",
  reset: "Connection reset",
  unreachable: "No route to host",
  timeout: "Connection timed out",
  aborted: "Connection ended",
};

/**
 * Begins to serve the socket at `path`.
 *
 * @throws {OmertaError} `listen-failed`.
 */
export function openPipe(loop: ProxyLoop, dialer: Dialer, path: string): ProxyServer {
  const listen = { kind: "unix", path } as const;
  return new ProxyServer(loop, { listen, dialer, converse: () => new PipeConversation() });
}

/** The one line. */
export class PipeConversation implements Conversation {
  readonly #bytes = new Uint8Array(new ArrayBuffer(MAX_LINE));
  #length = 0;
  #lineEnd = 0;

  /** See {@link Conversation.room}. */
  get room(): number {
    return MAX_LINE - this.#length;
  }

  /** See {@link Conversation.feed}. */
  feed(bytes: Uint8Array, at: number, length: number): void {
    const count = Math.min(length, this.room);
    this.#bytes.set(bytes.subarray(at, at + count), this.#length);
    this.#length += count;
  }

  /** See {@link Conversation.next}. */
  next(): Turn {
    const end = this.#bytes.subarray(0, this.#length).indexOf(NEWLINE);
    if (end < 0 && this.room > 0) return { kind: "more" };
    this.#lineEnd = end + 1;
    const found = REQUEST.exec(latin1(this.#bytes.subarray(0, Math.max(0, end))));
    const host = found?.[1];
    const port = Number(found?.[2] ?? 0);
    if (host === undefined || port > 65535) {
      const words = 'Cannot read the request: want "CONNECT HOST PORT"';
      return { kind: "refuse", bytes: line(`ERR bad-request ${words}`) };
    }
    return { kind: "dial", host, port };
  }

  /** See {@link Conversation.rest}. */
  rest(): Uint8Array<ArrayBuffer> {
    return this.#bytes.slice(this.#lineEnd, this.#length);
  }

  /** See {@link Conversation.opened}. */
  opened(): Uint8Array<ArrayBuffer> {
    return line("OK");
  }

  /** See {@link Conversation.failed}. */
  failed(fault: OpenFault): Uint8Array<ArrayBuffer> {
    return line(`ERR ${fault} ${WORDS[fault]}`);
  }
}

/** One character for each byte. */
function latin1(bytes: Uint8Array): string {
  return String.fromCharCode(...bytes);
}

function line(text: string): Uint8Array<ArrayBuffer> {
  return new TextEncoder().encode(`${text}\n`);
}
