/**
 * `omerta socks`: a SOCKS5 server by which programs of this computer reach all borrowed VMs.
 *
 * @module
 */

import { Command, type CommandUnknownOpts } from "@commander-js/extra-typings";
import { EXIT, OmertaError } from "../../lib/core/errors.ts";
import { readTextIfThere } from "../../lib/core/files.ts";
import { parsePort } from "../../lib/core/link.ts";
import { type Context, runningDaemon } from "../context.ts";
import { literal, LOOPBACK } from "../tunnel/forward_argument.ts";
import { BACKGROUND_HELP, serve } from "./forward.ts";

/** Port of SOCKS (IANA). */
const SOCKS_PORT = 1080;

/** The command. */
export function socksCommand(context: Context): CommandUnknownOpts {
  return new Command("socks")
    .description("Serve SOCKS5, by which programs reach all borrowed VMs by name or address")
    .option("--port <port>", "port to listen on", parsePort, SOCKS_PORT)
    .option("--bind <address>", "address to listen on", LOOPBACK)
    .option("--user <name>", "user that may use it, with --password-file")
    .option("--password-file <file>", "file whose first line is that user's password")
    .option("--background", BACKGROUND_HELP)
    .action(async ({ port, bind, user, passwordFile, background }) => {
      const credentials = await credentialsOf(user, passwordFile);
      const address = literal(bind);
      if (credentials === null && !isLoopback(address)) {
        throw new OmertaError(
          "bad-option",
          `Cannot listen on ${address} for everybody: want --user and --password-file`,
          { exit: EXIT.usage },
        );
      }
      using client = await runningDaemon(context);
      const listen = { address, port };
      await serve(client, { kind: "socks", listen, credentials }, background ?? false);
    });
}

function isLoopback(address: string): boolean {
  return /^127\.[0-9.]+$/.test(address) || address === "::1";
}

async function credentialsOf(
  user: string | undefined,
  file: string | undefined,
): Promise<{ user: string; password: string } | null> {
  if (user === undefined && file === undefined) return null;
  const password = file === undefined ? undefined : await readTextIfThere(file);
  const line = password?.split(/\r?\n/, 1)[0] ?? "";
  if (user !== undefined && line !== "") return { user, password: line };
  const what = user === undefined ? "want --user with it" : "want a --password-file with a line";
  throw new OmertaError("bad-option", `Cannot ask for a password: ${what}`, { exit: EXIT.usage });
}
