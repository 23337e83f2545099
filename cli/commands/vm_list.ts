/**
 * `omerta vm list`: what is borrowed and what is lent.
 *
 * @module
 */

import { Command, type CommandUnknownOpts } from "@commander-js/extra-typings";
import { ApiClient } from "../../lib/api/client.ts";
import type { VmView } from "../../lib/api/schemas.ts";
import { loadConfig } from "../../lib/core/config.ts";
import { LeaseStore } from "../../lib/node/lease_store.ts";
import type { Context } from "../context.ts";
import { formatAge, print, printJson } from "../output.ts";
import { printTable } from "../table.ts";

/** The command. */
export function vmListCommand(context: Context): CommandUnknownOpts {
  return new Command("list")
    .description("List the VMs that are borrowed and those that are lent")
    .option("--json", "print JSON")
    .action(async ({ json }) => {
      const { borrowed, lent, alarms } = await read(context);
      if (json) {
        printJson({ borrowed, lent, alarms });
        return;
      }
      const now = Date.now();
      printTable(
        ["name", "id", "address", "lender", "mode", "state", "age"],
        borrowed.map((vm) => [
          vm.name,
          vm.id,
          vm.address,
          vm.host,
          vm.mode,
          stateOf(vm),
          formatAge(now - vm.since),
        ]),
        "No VM is borrowed",
      );
      if (lent.length === 0) return;
      print();
      print("Lent to others:");
      printTable(
        ["name", "id", "borrower", "from", "mode", "stage", "memory", "age", "alarms"],
        lent.map((vm) => [
          vm.name,
          vm.id,
          vm.borrower,
          vm.endpoint,
          vm.mode,
          vm.dryRun ? "dry run" : vm.stage,
          `${vm.memoryMiB} MiB`,
          formatAge(now - vm.since),
          alarms.filter((alarm) => alarm.vm === vm.id).map(({ kind }) => kind).join(", ") || "none",
        ]),
        "",
      );
    });
}

function stateOf(vm: VmView): string {
  if (vm.dryRun) return "dry run";
  if (vm.lenderSilent) return "lender silent";
  return vm.readyAt === undefined ? "starting" : "ready";
}

/** From the daemon; without one nothing is lent, and what is borrowed stands in the file. */
async function read(context: Context): Promise<
  Pick<Awaited<ReturnType<ApiClient["status"]>>, "borrowed"> & {
    lent: NonNullable<Awaited<ReturnType<ApiClient["status"]>>["lending"]>["vms"];
    alarms: NonNullable<Awaited<ReturnType<ApiClient["status"]>>["lending"]>["alarms"];
  }
> {
  using client = new ApiClient(context.paths.socket);
  if (await client.isUp()) {
    const { borrowed, lending } = await client.status();
    return { borrowed, lent: lending?.vms ?? [], alarms: lending?.alarms ?? [] };
  }
  await loadConfig(context.paths);
  const leases = await LeaseStore.load(context.paths.leases);
  const borrowed = leases.list().map((
    { id, name, host, address, since, readyAt, mode, dryRun },
  ) => ({
    ...{ id, name, host, address, since, mode, dryRun },
    ...(readyAt === undefined ? {} : { readyAt }),
  }));
  return { borrowed, lent: [], alarms: [] };
}
