/**
 * `omerta socks`: a SOCKS5 server by which programs of this computer reach all borrowed VMs.
 *
 * @module
 */

import { Command, type CommandUnknownOpts } from "@commander-js/extra-typings";
import { EXIT, messageOf, OmertaError } from "../../lib/core/errors.ts";
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
      const address = literal(bind);
      const credentials = await credentialsOf(user, passwordFile);
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

/**
 * Who may use it; null: everybody who reaches it.
 *
 * @throws {OmertaError} `bad-option`.
 */
export async function credentialsOf(
  user: string | undefined,
  file: string | undefined,
): Promise<{ user: string; password: string } | null> {
  if (user === undefined && file === undefined) return null;
  if (user === undefined) throw noPassword("want --user with it");
  if (file === undefined) throw noPassword("want --password-file with it");
  let text: string;
  try {
    text = await Deno.readTextFile(file);
  } catch (error) {
    throw noPassword(`cannot read ${file}: ${messageOf(error)}`);
  }
  const password = text.split(/\r?\n/, 1)[0];
  if (!password) throw noPassword(`the first line of ${file} is empty`);
  return { user, password };
}

function noPassword(why: string): OmertaError {
  return new OmertaError("bad-option", `Cannot ask for a password: ${why}`, { exit: EXIT.usage });
}
