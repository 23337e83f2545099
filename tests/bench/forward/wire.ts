/**
 * A socket as the load generator sees it: the guest's end of a cable, or the far end on the network.
 *
 * @module
 */

import type { PacketHandler } from "../../../net/os/packet_socket.ts";

/** Sends and takes messages without ever waiting. */
export interface Wire extends Disposable {
  /** Hands over up to `count` messages from `messages[from]` on; how many were taken. */
  send(messages: readonly Uint8Array[], from: number, count: number): number;
  /** Hands what has arrived to `handler`. */
  drain(handler: PacketHandler): void;
}

/** Messages of one {@link Wire.send}, at the most. */
export const SEND_MAX = 64;
/** Longest message (bytes). */
export const MESSAGE_MAX = 2048;
