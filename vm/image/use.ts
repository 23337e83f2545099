/**
 * Which VMs of this host lie on top of an image.
 *
 * @module
 */

import { exists } from "../../lib/core/files.ts";
import { parseVmId } from "../../lib/core/ids.ts";
import { run } from "../../lib/core/process.ts";
import { vmPaths } from "../hypervisor.ts";
import type { BaseImage } from "./image.ts";

/** Ids of the VMs below `vms` whose overlay has `image` beneath it. */
export async function vmsUsing(vms: string, image: BaseImage): Promise<string[]> {
  const users: string[] = [];
  if (!await exists(vms)) return users;
  for await (const entry of Deno.readDir(vms)) {
    const id = parseVmId(entry.name);
    if (id === undefined) continue;
    const { disk: overlay } = vmPaths(vms, id);
    if (!await exists(overlay)) continue;
    // -U: the hypervisor holds the lock of the overlay.
    const info = await run("qemu-img", ["info", "-U", "--output=json", overlay]);
    const fields: { "full-backing-filename"?: string } = JSON.parse(info.stdout || "{}");
    if (fields["full-backing-filename"] === image.disk) users.push(id);
  }
  return users;
}
