/**
 * What a lender is made of besides its rules: the accelerator of this host, and its images.
 *
 * @module
 */

import { chooseAccelerator, hostFacts } from "../../vm/accelerator.ts";
import { ImageStore } from "../../vm/image/store.ts";
import type { Paths } from "../core/paths.ts";
import type { LenderOptions } from "./lender.ts";

/** What a lender needs of its host. */
export async function lenderPartsOf(
  paths: Pick<Paths, "images" | "vms">,
): Promise<Pick<LenderOptions, "accelerator" | "findImage">> {
  const images = await ImageStore.open(paths.images);
  const arch = Deno.build.arch;
  const facts = await hostFacts(`${paths.vms}/accelerator`);
  return {
    accelerator: chooseAccelerator(facts, arch).accelerator,
    findImage: (name) => name === undefined ? images.default() : images.find(name),
  };
}
