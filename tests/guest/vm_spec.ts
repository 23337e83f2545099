/**
 * A VM without a network, for tests that need one.
 *
 * @module
 */

import { newVmId } from "../../lib/core/ids.ts";
import { generateSshKey } from "../../lib/core/ssh_key.ts";
import type { BaseImage } from "../../vm/image/image.ts";
import type { VmSpec } from "../../vm/manager.ts";

/** One processor, 512 MiB, no network. */
export function vmSpec(image: BaseImage, name: string): VmSpec {
  const id = newVmId();
  return {
    ...{ id, name, cpus: 1, memoryMiB: 512, diskGiB: 2, image },
    network: { kind: "none" },
    seed: {
      vmId: id,
      hostname: name,
      user: "omerta",
      sshAuthorizedKeys: [],
      hostKey: generateSshKey(name),
      network: { kind: "none" },
      firewall: false,
    },
  };
}
