/**
 * Whether tests may load programs into the kernel: root in a container often may not.
 *
 * @module
 */

import { messageOf } from "../../lib/core/errors.ts";
import { BpfProgram } from "../../net/os/bpf_linux.ts";
import { rootMissing } from "./requires.ts";

/** r0 = 0; exit */
const NOTHING = Uint8Array.fromHex("b700000000000000" + "9500000000000000");

/** Why kernel programs cannot be loaded here; undefined when they can. */
export const bpfMissing: string | undefined = rootMissing ?? probe();

function probe(): string | undefined {
  try {
    new BpfProgram("omtest", NOTHING)[Symbol.dispose]();
    return undefined;
  } catch (error) {
    return messageOf(error);
  }
}
