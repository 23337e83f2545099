/**
 * SSH to a borrowed VM without root: by the stack, next to what the TUN device gives. First to a VM
 * that is a namespace and without ssh, then to a real guest.
 *
 * @module
 */

import { libc } from "../../net/os/libc.ts";
import { netlabMissing } from "../netlab/netlab.ts";
import { commandMissing, rootMissing } from "../support/requires.ts";
import type { Bench, Row } from "./bench.ts";
import { connectionRows } from "./ssh/connections.ts";
import { guestRows } from "./ssh/guest.ts";
import { ownsRows } from "./ssh/owns_cost.ts";

/** The benchmark. */
export const sshBench: Bench = {
  name: "ssh",
  missing: rootMissing ?? netlabMissing ??
    (libc() === undefined ? "needs FFI on Linux" : undefined) ??
    commandMissing("ip", "ss", "python3", "qemu-system-x86_64", "qemu-img", "ssh", "scp", "cmp"),
  async run(): Promise<Row[]> {
    return [...ownsRows(), ...await connectionRows(), ...await guestRows()];
  },
};
