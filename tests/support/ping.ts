/**
 * Pings that have to be answered: the controls of those that must not be. One that is lost on a busy
 * host says nothing, so they are sent until there are answers.
 *
 * @module
 */

import type { Home } from "./home.ts";
import { until } from "./until.ts";

/** What ping(8) is told to ask once a second until there is an answer, at most for 45 s. */
export const PING = ["-c", "1", "-w", "45"] as const;

/** Runs `omerta ARGS`, which pings, until there was an answer to each ping; what it then printed. */
export async function allAnswered(home: Home, ...args: string[]): Promise<string> {
  let said = "";
  return await until(async () => {
    const { stdout, stderr } = await home.run(args);
    said = stdout + stderr;
    const [, received, sent] = /^answers +(\d+) of (\d+)/m.exec(stdout) ?? [];
    return received !== undefined && received === sent && stdout;
  }, { timeoutMs: 60_000, what: () => `every answer to omerta ${args.join(" ")}: ${said}` });
}
