/**
 * `omerta ping`: asks a borrowed VM for echoes, by the daemon's own TCP/IP stack: without root.
 *
 * @module
 */

import { Command, type CommandUnknownOpts } from "@commander-js/extra-typings";
import type { PingView } from "../../lib/api/tunnel_schemas.ts";
import { EXIT } from "../../lib/core/errors.ts";
import { type Context, interruptible, runningDaemon } from "../context.ts";
import { endWith } from "../exit_code.ts";
import { print, printJson } from "../output.ts";
import { roundTrips } from "../tunnel/ping_report.ts";
import { pingByStack } from "../tunnel/stack_ping.ts";
import { parseCount, parseTimeout } from "../values.ts";

/** Most questions. */
const MAX_COUNT = 10_000;
/** How long an answer is waited for when nothing else is said, in s. */
const DEFAULT_TIMEOUT_S = 5;
const INTERVAL_MS = 1000;

/** The command. */
export function pingCommand(context: Context): CommandUnknownOpts {
  return new Command("ping")
    .description("Send ICMP echo to a borrowed VM, without root; ends with 4 without an answer")
    .argument("<host>", "name, id or address of the VM")
    .option("--count <count>", "how many, one a second", parseCount("--count", MAX_COUNT), 4)
    .option(
      "--timeout <time>",
      "how long to wait for each answer, as in 5s",
      parseTimeout,
      DEFAULT_TIMEOUT_S,
    )
    .option("--json", "print JSON")
    .action(async (host, { count, timeout, json }) => {
      using client = await runningDaemon(context);
      const report = await interruptible((signal) =>
        pingByStack({
          ping: (body) => client.ping(body),
          ...{ host, count, intervalMs: INTERVAL_MS, timeoutMs: timeout * 1000 },
          onAnswer: (number, answer) => {
            if (!json) print(`${host}: ${number}: ${words(answer)}`);
          },
        }, signal)
      );
      if (json) printJson(report);
      else for (const line of roundTrips(report)) print(line);
      if (report.received === 0) endWith(EXIT.unreachable);
    });
}

function words(answer: PingView): string {
  if (answer.kind === "reply") return `${answer.roundTripMs.toFixed(2)} ms`;
  return answer.kind === "timeout" ? "no answer" : `unreachable (ICMP code ${answer.code})`;
}
