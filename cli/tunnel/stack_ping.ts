/**
 * Echo requests by the daemon's own stack.
 *
 * @module
 */

import { setTimeout as pause } from "node:timers/promises";
import type { PingView } from "../../lib/api/tunnel_schemas.ts";
import { type PingReport, reportOf } from "./ping_report.ts";

/** What is asked. */
export interface StackPing {
  /** Sends one request. */
  readonly ping: (body: { readonly host: string; readonly timeoutMs: number }) => Promise<PingView>;
  /** Name, id or address of the VM. */
  readonly host: string;
  /** How many requests. */
  readonly count: number;
  /** Time between two, in ms. */
  readonly intervalMs: number;
  /** How long each answer is waited for, in ms. */
  readonly timeoutMs: number;
  /** Told of each answer, with the number of its request from 1. */
  readonly onAnswer: (number: number, answer: PingView) => void;
}

/**
 * Sends requests one interval apart, whether or not the one before was answered.
 *
 * @throws {OmertaError} What the daemon says, or the reason of `signal`.
 */
export async function pingByStack(what: StackPing, signal: AbortSignal): Promise<PingReport> {
  const { host, count, intervalMs, timeoutMs } = what;
  const times: number[] = [];
  const one = async (number: number): Promise<void> => {
    const answer = await what.ping({ host, timeoutMs });
    if (answer.kind === "reply") times.push(answer.roundTripMs);
    what.onAnswer(number, answer);
  };
  const failed = new AbortController();
  const stop = AbortSignal.any([signal, failed.signal]);
  const stopped = Promise.withResolvers<never>();
  stopped.promise.catch(() => {});
  stop.addEventListener("abort", () => stopped.reject(stop.reason), { once: true });
  const asked: Promise<void>[] = [];
  try {
    for (let number = 1; number <= count; number++) {
      if (number > 1) await pause(intervalMs, undefined, { signal: stop });
      const asking = one(number);
      asking.catch((error: unknown) => failed.abort(error));
      asked.push(asking);
    }
    await Promise.race([Promise.all(asked), stopped.promise]);
  } catch (error) {
    throw stop.aborted ? stop.reason : error;
  }
  return reportOf(count, times);
}
