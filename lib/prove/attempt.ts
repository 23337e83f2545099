/**
 * What one entry of the matrix is.
 *
 * @module
 */

import type { Scene } from "./scene.ts";

/** Something that the guest asks by its kernel's own sockets. */
export interface Call {
  /** By which protocol. */
  readonly kind: "udp" | "tcp" | "ping";
  /** Whom. */
  readonly host: string;
  /** At which port; 0 for a ping. */
  readonly port: number;
}

/** Whose answer is a control: places of world.ts. */
export type Place = "internet" | "neighbour" | "router" | "host" | "borrower" | "other";

/** One entry of the matrix. */
export interface Attempt {
  /** Stable name. */
  readonly id: string;
  /** What is tried. */
  readonly tries: string;
  /** What would happen if the wall leaked. */
  readonly leak: string;
  /** Who has to answer to others in the same run. */
  readonly from: readonly Place[];
  /** What the filter may say of the frames: words of net/filter/verdict.ts. */
  readonly reasons: readonly string[];
  /** The frames; `mark(n)` is the mark of the n-th. */
  readonly frames: (scene: Scene, mark: (n: number) => Uint8Array) => Uint8Array[];
  /** What is asked besides; only somebody who is in the guest can. */
  readonly calls?: (scene: Scene) => readonly Call[];
  /** A host whose ports are looked at; only somebody who is in the guest can. */
  readonly scan?: (scene: Scene) => string;
}

/** One call of each kind, at ports on which the world's hosts answer. */
export function callsTo(host: string): Call[] {
  return [
    { kind: "udp", host, port: 53 },
    { kind: "tcp", host, port: 80 },
    { kind: "ping", host, port: 0 },
  ];
}

/** What a leak is where nobody can answer. */
export const SEEN = "the frame is seen outside";
/** What a leak is where somebody can. */
export const ANSWERED = "it answers, or the frame is seen outside";
