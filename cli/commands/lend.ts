/**
 * `omerta lend`: what this node lends, to whom and when.
 *
 * It changes the configuration; a daemon that runs goes by it from the next request on.
 *
 * @module
 */

import { Command, type CommandUnknownOpts } from "@commander-js/extra-typings";
import { type LendRules, loadConfig, saveConfig, withLend } from "../../lib/core/config.ts";
import { EXIT, OmertaError } from "../../lib/core/errors.ts";
import { localTimeOf } from "../../lib/core/quiet_hours.ts";
import { DIRECT_WARNING } from "../../lib/node/modes.ts";
import { describeRules } from "../../lib/node/rules.ts";
import type { Context } from "../context.ts";
import { LEND_SETTINGS, type LendChanges, lendSetting } from "../lend_settings.ts";
import { print, printJson, warn } from "../output.ts";
import { printTable } from "../table.ts";

/** Length of a whole peer id, in characters. */
const PEER_ID_LENGTH = 16;

/** The command. */
export function lendCommand(context: Context): CommandUnknownOpts {
  return new Command("lend")
    .description("Show and change what this node lends, to whom and when")
    .addCommand(showCommand(context))
    .addCommand(setCommand(context))
    .addCommand(quietCommand(context))
    .addCommand(allowCommand(context))
    .addCommand(denyCommand(context))
    .addCommand(forgetCommand(context));
}

function showCommand(context: Context): CommandUnknownOpts {
  return new Command("show")
    .description("Show every rule")
    .option("--json", "print JSON")
    .action(async ({ json }) => {
      const { lend } = await loadConfig(context.paths);
      if (json) printJson(lend);
      else printRules(lend);
    });
}

function setCommand(context: Context): CommandUnknownOpts {
  return new Command("set")
    .description("Change a rule; 'default' as the value makes it what it was at first")
    .argument("<rule>", [...LEND_SETTINGS.keys()].join(", "))
    .argument("<value>", "a number, a size as in 2G, a time as in 4h, a word, or default")
    .action(async (name, value) => {
      const setting = lendSetting(name);
      const text = value === "default" ? undefined : value;
      const lend = await change(
        context,
        `${name} to '${value}'`,
        (lend) => setting.change(lend, text),
      );
      const since = setting.forRunning
        ? "from now on, for VMs that run too"
        : "from the next request on; VMs that run go on";
      print(`${name} is ${setting.show(lend)} ${since}`);
      if (name === "modes") warnOfDirect(lend);
    });
}

function quietCommand(context: Context): CommandUnknownOpts {
  return new Command("quiet")
    .description("Accept no VM at these times of the week, in local time; VMs that run go on")
    .argument("<times...>", "22:00-07:00, 'sat,sun 00:00-24:00', 'mon-fri 09:00-17:00', or off")
    .action(async (times) => {
      const quiet = times.length === 1 && times[0] === "off" ? [] : times;
      await change(context, `quiet hours '${times.join("' '")}'`, () => ({ quiet }));
      print(
        quiet.length === 0
          ? "There are no quiet hours"
          : `Quiet hours: ${quiet.join("; ")}; VMs that run go on`,
      );
    });
}

function allowCommand(context: Context): CommandUnknownOpts {
  return new Command("allow")
    .description("Lend to this peer, and only to those that are allowed; takes back a denial")
    .argument("<peer>", "id of the peer ('omerta status' there), or its first 8 or more characters")
    .action(async (peer) => {
      const { allow, deny } = await change(context, `allowed peer '${peer}'`, (lend) => ({
        allow: withPeer(lend.allow, peer),
        deny: lend.deny.filter((entry) => entry !== peer),
      }));
      print(`${peer} may borrow, as ${allow.length === 1 ? "the only peer" : "an allowed peer"}`);
      if (peer.length < PEER_ID_LENGTH) {
        warn("Keys whose id begins so can be found by trying; a whole id cannot be imitated");
      }
      const stronger = deny.filter((entry) => entry.startsWith(peer) || peer.startsWith(entry));
      if (stronger.length > 0) warn(`${stronger.join(", ")} is denied, which is stronger`);
    });
}

function denyCommand(context: Context): CommandUnknownOpts {
  return new Command("deny")
    .description("Lend no VM to this peer, allowed or not; VMs that it has go on")
    .argument("<peer>", "id of the peer, or its first 8 or more characters")
    .action(async (peer) => {
      const { allow } = await change(
        context,
        `denied peer '${peer}'`,
        ({ deny }) => ({ deny: withPeer(deny, peer) }),
      );
      print(`${peer} may not borrow; VMs that it has go on`);
      if (allow.length === 0) {
        warn("Whoever has the link can come back under new keys; 'omerta lend allow' is stronger");
      }
    });
}

function forgetCommand(context: Context): CommandUnknownOpts {
  return new Command("forget")
    .description("Take a peer off both lists, written as it stands there")
    .argument("<peer>", "entry of a list")
    .action(async (peer) => {
      let emptied = false;
      await change(context, `forgotten peer '${peer}'`, ({ allow, deny }) => {
        if (!allow.includes(peer) && !deny.includes(peer)) {
          throw new OmertaError("unknown-peer", `Cannot forget '${peer}': it is on no list`, {
            exit: EXIT.usage,
            next: "See 'omerta lend show'",
          });
        }
        const rest = allow.filter((entry) => entry !== peer);
        emptied = allow.length > 0 && rest.length === 0;
        return { allow: rest, deny: deny.filter((entry) => entry !== peer) };
      });
      print(`${peer} is on no list any more`);
      if (emptied) warn("No peer is on the list of allowed ones: whoever has the link can borrow");
    });
}

/** Changes the configuration. @returns What is lent now. */
async function change(
  context: Context,
  what: string,
  changes: (lend: LendRules) => LendChanges,
): Promise<LendRules> {
  const config = await loadConfig(context.paths);
  const changed = withLend(config, what, changes(config.lend));
  await saveConfig(context.paths, changed);
  return changed.lend;
}

function withPeer(list: readonly string[], peer: string): string[] {
  return list.includes(peer) ? [...list] : [...list, peer];
}

function printRules(lend: LendRules): void {
  const rows = [...LEND_SETTINGS].map(([name, { show, what }]) => [name, show(lend), what]);
  const { quiet, allow, deny } = lend;
  printTable(["rule", "value", "what"], [
    ...rows,
    ["quiet", quiet.join("\n") || "never", "when no VM is accepted"],
    ["allow", allow.join("\n") || "whoever has the link", "peers that may borrow"],
    ["deny", deny.join("\n") || "nobody", "peers that may not, also when allowed"],
  ], "");
  const rules = describeRules(lend, localTimeOf(Date.now()));
  if (rules.length > 0) print(`\nRules now: ${rules.join(", ")}`);
  warnOfDirect(lend);
}

function warnOfDirect({ modes }: LendRules): void {
  if (modes.includes("direct")) warn(DIRECT_WARNING);
}
