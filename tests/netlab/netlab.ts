/**
 * Real Linux networks for tests: those that `omerta prove` makes, and whether they can be made here.
 *
 * @module
 */

import { namespacesMissing } from "../../lib/prove/netlab.ts";

export { type Cable, type CableOptions, Namespace, NetLab } from "../../lib/prove/netlab.ts";

/** Why namespaces cannot be used here, for visible skips; undefined when they can. */
export const netlabMissing: string | undefined = await namespacesMissing();
