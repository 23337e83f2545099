/**
 * `omerta init`: makes a home that a node can run in. A second run keeps what is there.
 *
 * @module
 */

import { join } from "node:path";
import { type Config, loadConfig, newConfig, saveConfig } from "./config.ts";
import { exists, makePrivateFolder, writeFileAtomic } from "./files.ts";
import type { Paths } from "./paths.ts";
import { generateSshKey } from "./ssh_key.ts";

/** What {@link initHome} found and made. */
export interface InitReport {
  /** The configuration, new or kept. */
  readonly config: Config;
  /** Whether the configuration was made by this run. */
  readonly created: boolean;
  /** Where the previous configuration was put, when `force` replaced one. */
  readonly keptAside: string | undefined;
}

/**
 * Creates folders, configuration and SSH key; what exists is kept unless `force` says otherwise,
 * and then the old configuration and key stay beside the new ones.
 */
export async function initHome(
  paths: Paths,
  options: { readonly force: boolean; readonly now: number },
): Promise<InitReport> {
  for (const folder of [paths.home, paths.ssh, paths.images, paths.vms, paths.logs]) {
    await makePrivateFolder(folder);
  }
  const had = await exists(paths.config);
  if (had && !options.force) {
    await ensureSshKey(paths);
    return { config: await loadConfig(paths), created: false, keptAside: undefined };
  }
  const suffix = `.${new Date(options.now).toISOString().replace(/[:.]/g, "-")}.old`;
  if (had) {
    await Deno.rename(paths.config, paths.config + suffix);
    for (const file of [paths.sshKey, `${paths.sshKey}.pub`]) {
      if (await exists(file)) await Deno.rename(file, file + suffix);
    }
  }
  await ensureSshKey(paths);
  const config = newConfig(options.now);
  await saveConfig(paths, config);
  return { config, created: true, keptAside: had ? paths.config + suffix : undefined };
}

async function ensureSshKey(paths: Paths): Promise<void> {
  if (await exists(paths.sshKey) && await exists(`${paths.sshKey}.pub`)) return;
  const key = generateSshKey("omerta");
  await writeFileAtomic(paths.sshKey, key.privatePem);
  await writeFileAtomic(`${paths.sshKey}.pub`, key.publicLine + "\n", 0o644);
}

/** The borrower's public SSH key, one line. */
export async function readSshPublicKey(paths: Paths): Promise<string> {
  return (await Deno.readTextFile(join(paths.ssh, "id_ed25519.pub"))).trim();
}
