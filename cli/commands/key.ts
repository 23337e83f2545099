/**
 * `omerta key`: the link that lets somebody borrow from this node, and taking in that of another.
 *
 * @module
 */

import { networkInterfaces } from "node:os";
import { Command, type CommandUnknownOpts } from "@commander-js/extra-typings";
import { loadConfig, saveConfig, withLender } from "../../lib/core/config.ts";
import { formatLink, parseHostPort, parseLink } from "../../lib/core/link.ts";
import { ApiClient } from "../../lib/api/client.ts";
import type { Context } from "../context.ts";
import { note, print } from "../output.ts";

/** The command. */
export function keyCommand(context: Context): CommandUnknownOpts {
  return new Command("key")
    .description("Share this node's key, or take in a lender's link")
    .addCommand(shareCommand(context))
    .addCommand(importCommand(context));
}

function shareCommand(context: Context): CommandUnknownOpts {
  return new Command("share")
    .description("Print the link with which others can borrow from this node")
    .option("--host <address>", "address under which others reach this node")
    .action(async ({ host }) => {
      const config = await loadConfig(context.paths);
      const given = host === undefined ? undefined : parseHostPort(host);
      const link = formatLink({
        key: Uint8Array.fromHex(config.localKey),
        host: given?.host ?? likelyAddress(),
        port: given?.port ?? await runningPort(context) ?? config.port,
      });
      note("Whoever has this link can borrow VMs from this node: treat it as a password");
      print(link);
    });
}

function importCommand(context: Context): CommandUnknownOpts {
  return new Command("import")
    .description("Take in a lender's link")
    .argument("<link>", "omerta://connect?key=..&host=..&port=.. (in quotes)")
    .action(async (text) => {
      const link = parseLink(text);
      const config = await loadConfig(context.paths);
      await saveConfig(
        context.paths,
        withLender(config, { host: link.host, port: link.port, key: link.key.toHex() }),
      );
      print(`Took in the link of ${link.host}`);
      print(`Borrow with: omerta vm request --provider ${link.host}`);
    });
}

/** An address of this host that others may reach; loopback when it has no other. */
export function likelyAddress(): string {
  const addresses = Object.values(networkInterfaces()).flatMap((list) => list ?? [])
    .filter(({ internal }) => !internal);
  const found = addresses.find(({ family }) => family === "IPv4") ??
    addresses.find(({ address }) => !address.startsWith("fe80"));
  return found?.address ?? "127.0.0.1";
}

/** The port of the daemon that runs: it may have been started with another one. */
async function runningPort(context: Context): Promise<number | undefined> {
  using client = new ApiClient(context.paths.socket);
  return await client.isUp() ? (await client.status()).port : undefined;
}
