/**
 * `omerta vm refused`: what a lent VM was not allowed to send.
 *
 * @module
 */

import { Command, type CommandUnknownOpts } from "@commander-js/extra-typings";
import { messageOf, OmertaError } from "../../lib/core/errors.ts";
import { SNAP_LEN } from "../../net/filter/refusals.ts";
import { writePcap } from "../../net/wire/pcap.ts";
import { type Context, runningDaemon } from "../context.ts";
import { note, print, printJson } from "../output.ts";
import { printTable } from "../table.ts";

/** The command. */
export function vmRefusedCommand(context: Context): CommandUnknownOpts {
  return new Command("refused")
    .description(
      "Print what a VM that this node lends was not allowed to send: how much, and the last",
    )
    .argument("<name>", "name, or unique beginning of its id")
    .option("--pcap <file>", "write the last frames there, for tcpdump and the like")
    .option("--json", "print JSON")
    .action(async (name, { pcap, json }) => {
      using client = await runningDaemon(context);
      const refused = await client.refused(name);
      const frames = refused.frames.map((frame) => ({
        ...frame,
        bytes: Uint8Array.fromBase64(frame.bytes),
      }));
      if (pcap !== undefined) {
        try {
          await Deno.writeFile(pcap, writePcap(frames, SNAP_LEN), { mode: 0o600 });
        } catch (error) {
          throw new OmertaError("write-failed", `Cannot write ${pcap}: ${messageOf(error)}`);
        }
        note(`Wrote ${frames.length} frames to ${pcap}`);
      }
      if (json) {
        printJson(refused);
        return;
      }
      const counts = Object.entries(refused.counts).sort(([, a], [, b]) => b - a);
      printTable(
        ["reason", "frames"],
        counts.map(([reason, count]) => [reason, String(count)]),
        `Nothing that ${refused.name} sent was refused`,
      );
      if (frames.length === 0) return;
      print();
      print(`The last ${frames.length}:`);
      for (const { time, reason, text } of frames) {
        print(`${new Date(time).toISOString()}  ${reason.padEnd(16)}  ${text}`);
      }
    });
}
