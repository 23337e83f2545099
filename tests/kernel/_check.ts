/**
 * Says whether a lender with this process's rights can filter in the kernel for a borrower at the
 * address that is given: "it can", or why not.
 *
 * @module
 */

import { KernelGuests } from "../../lib/node/kernel_guests.ts";
import { messageOf } from "../../lib/core/errors.ts";
import { Endpoint } from "../../net/os/endpoint.ts";

const endpoint = Endpoint.of(Deno.args[0] ?? "", 51820);
using guests = new KernelGuests({
  nodePort: 51820,
  setKernelGuest: () => Promise.resolve(),
  onRefused: () => {},
  onRogue: () => {},
});
let words = "it can";
try {
  if (endpoint !== undefined) guests.check(endpoint);
} catch (error) {
  words = messageOf(error);
}
await Deno.stdout.write(new TextEncoder().encode(words));
