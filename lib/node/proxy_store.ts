/**
 * The forwards and SOCKS5 servers of the background, kept in `forwards.json` so that the next daemon
 * opens them again.
 *
 * The passwords of SOCKS5 servers are in it: the file is its user's own (0600), as is the
 * configuration with the keys. They are not read again from the file that they came from, which need
 * not be there any more, or not be a file.
 *
 * A damaged file is kept aside under another name, and nothing of it is opened.
 *
 * @module
 */

import { z } from "zod";
import { readTextIfThere, writeFileAtomic } from "../core/files.ts";
import { ProxyRequest } from "./proxy_request.ts";

/** Most that are remembered. */
export const MAX_REMEMBERED = 256;

const RememberedSchema = z.strictObject({
  /** Its id, the same in every daemon. */
  id: z.string().regex(/^[0-9a-f]{8}$/),
  /** What it is. */
  request: ProxyRequest,
});

/** One that is remembered. */
export type RememberedProxy = z.infer<typeof RememberedSchema>;

const FileSchema = z.strictObject({
  version: z.literal(1),
  proxies: z.array(RememberedSchema).max(MAX_REMEMBERED),
});

/** The file. */
export class ProxyStore {
  readonly #path: string;

  /**
   * Nothing is read yet.
   *
   * @param path Where the file is.
   */
  constructor(path: string) {
    this.#path = path;
  }

  /**
   * Reads the file.
   *
   * @param onWarning Called when it is damaged, and where it is now.
   * @returns What is remembered, in the order in which it was opened.
   */
  async load(onWarning: (warning: string) => void): Promise<readonly RememberedProxy[]> {
    const text = await readTextIfThere(this.#path);
    if (text === undefined) return [];
    const file = FileSchema.safeParse(jsonOf(text));
    if (file.success) return file.data.proxies;
    const aside = `${this.#path}.damaged-${Date.now()}`;
    await Deno.rename(this.#path, aside);
    onWarning(
      `Cannot read ${this.#path}: it is damaged, now kept as ${aside}; ` +
        "forwards of the background have to be opened again",
    );
    return [];
  }

  /**
   * Replaces the file.
   *
   * @throws {OmertaError} `disk-full`, `write-failed`.
   */
  async save(proxies: readonly RememberedProxy[]): Promise<void> {
    await writeFileAtomic(this.#path, JSON.stringify({ version: 1, proxies }, null, 2) + "\n");
  }
}

function jsonOf(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
