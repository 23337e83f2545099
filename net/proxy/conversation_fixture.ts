/**
 * Talks to a {@link Conversation} as a server does, and writes down what happens.
 *
 * @module
 */

import type { Conversation } from "./proxy_server.ts";

/** How a conversation ended, or that it waits. */
export type Outcome =
  | { readonly kind: "waits" }
  | { readonly kind: "refused" }
  | {
    readonly kind: "dial";
    readonly host: string;
    readonly port: number;
    readonly rest: number[];
  };

/** What came of some bytes. */
export interface Talk {
  /** What the server said, all of it. */
  readonly said: number[];
  /** How it ended. */
  readonly outcome: Outcome;
  /** Bytes that were not asked for any more. */
  readonly unread: number[];
}

/** Feeds `bytes` in pieces of these sizes, the last one again and again. */
export function talk(
  conversation: Conversation,
  bytes: Uint8Array,
  sizes: readonly number[] = [bytes.length],
): Talk {
  const said: number[] = [];
  let at = 0;
  let piece = 0;
  while (true) {
    const turn = conversation.next();
    if (turn.kind === "say" || turn.kind === "refuse") said.push(...turn.bytes);
    if (turn.kind === "refuse") return { said, outcome: { kind: "refused" }, unread: [] };
    if (turn.kind === "dial") {
      const { host, port } = turn;
      const rest = Array.from(conversation.rest());
      const outcome = { kind: "dial", host, port, rest } as const;
      return { said, outcome, unread: Array.from(bytes.subarray(at)) };
    }
    if (turn.kind === "more") {
      if (conversation.room <= 0) throw new Error("Cannot go on: it wants more and has no room");
      if (at >= bytes.length) return { said, outcome: { kind: "waits" }, unread: [] };
      const size = Math.max(1, sizes[Math.min(piece++, sizes.length - 1)] ?? 1);
      const length = Math.min(size, conversation.room, bytes.length - at);
      conversation.feed(bytes, at, length);
      at += length;
    }
  }
}
