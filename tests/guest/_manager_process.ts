/**
 * A process that runs one VM until it is killed: `deno run _manager_process.ts VMS_FOLDER`. It prints
 * a line of JSON when the guest's kernel runs.
 *
 * @module
 */

import { VmManager } from "../../vm/manager.ts";
import { guestImage } from "./guest_image.ts";
import { vmSpec } from "./vm_spec.ts";

const manager = new VmManager({ folder: Deno.args[0] ?? "" });
const vm = await manager.create(vmSpec(await guestImage(), "orphan"));
await vm.waitFor("kernel");
await Deno.stdout.write(new TextEncoder().encode(`${JSON.stringify({ pid: vm.pid })}\n`));
await vm.exited;
