/**
 * What this node has borrowed, kept in `leases.json` so that a restarted daemon finds its VMs again.
 *
 * A damaged file is kept aside under another name and the error says where: its VMs end by
 * themselves at their lenders when no heartbeat comes.
 *
 * @module
 */

import { z } from "zod";
import { EXIT, OmertaError } from "../core/errors.ts";
import { readTextIfThere, writeFileAtomic } from "../core/files.ts";
import type { Endpoint } from "../../net/os/endpoint.ts";
import { parseKey } from "../../net/wireguard/keys.ts";
import { toEndpoint } from "./lender_address.ts";
import { DEFAULT_MODE, SshPublicKey, VmMode, VmName, WireguardKey } from "./messages.ts";

const BorrowedVmSchema = z.strictObject({
  /** Id of the VM, chosen by its lender. */
  id: z.string().regex(/^[0-9a-f]{16}$/),
  /** Name that this borrower gave it. */
  name: VmName,
  /** The lender, as it was named in the request: `192.168.1.100`. */
  host: z.string(),
  /** Address and port that the lender was reached at. */
  endpoint: z.strictObject({ address: z.string(), port: z.int().min(1).max(65535) }),
  /** Hex of the lender's machine key: nobody else may answer for this VM. */
  machine: z.string().regex(/^[0-9a-f]{64}$/),
  /** Hex of the network key shared with the lender. Secret. */
  network: z.string().regex(/^[0-9a-f]{64}$/),
  /** Address in the tunnel. */
  address: z.ipv4(),
  /** WireGuard public key of the VM, base64. */
  wireguardKey: WireguardKey,
  /** SSH host key of the VM. */
  hostKey: SshPublicKey,
  /** When it was asked for: ms since 1970. */
  since: z.number(),
  /** When it was ready: ms since 1970; absent while it starts. */
  readyAt: z.number().optional(),
  /** How closely its lender looks at its network. */
  mode: VmMode.default(DEFAULT_MODE),
  /** Whether nothing was started for it. */
  dryRun: z.boolean(),
  /** A WireGuard of this computer that has a tunnel of its own to the VM. */
  client: z.strictObject({
    /** Its public key, base64; the private key is in the file that it was made for. */
    publicKey: WireguardKey,
    /** Its UDP port on this computer. */
    port: z.int().min(1).max(65535),
    /** Its address in the tunnel. */
    address: z.ipv4(),
  }).optional(),
});

/** A VM that this node has borrowed. */
export type BorrowedVm = z.infer<typeof BorrowedVmSchema>;

/** WireGuard public key of a VM, 32 bytes. */
export function wireguardKeyOf(vm: BorrowedVm): Uint8Array {
  const key = parseKey(vm.wireguardKey);
  if (key) return key;
  throw new TypeError(`VM ${vm.id} has no WireGuard key`); // the schema has let none in
}

/** Where the lender of a VM was reached. */
export function endpointOf({ endpoint }: BorrowedVm): Endpoint {
  return toEndpoint(endpoint.address, endpoint.port);
}

const FileSchema = z.strictObject({ version: z.literal(1), vms: z.array(BorrowedVmSchema) });

/** The borrowed VMs, by id, and their file. */
export class LeaseStore {
  readonly #path: string;
  readonly #vms: Map<string, BorrowedVm>;

  private constructor(path: string, vms: readonly BorrowedVm[]) {
    this.#path = path;
    this.#vms = new Map(vms.map((vm) => [vm.id, vm]));
  }

  /**
   * Reads the file.
   *
   * @throws {OmertaError} `leases-damaged`, after the file was put aside.
   */
  static async load(path: string): Promise<LeaseStore> {
    const text = await readTextIfThere(path);
    if (text === undefined) return new LeaseStore(path, []);
    let json: unknown;
    try {
      json = JSON.parse(text);
    } catch {
      json = undefined;
    }
    const file = FileSchema.safeParse(json);
    if (file.success) return new LeaseStore(path, file.data.vms);
    const aside = `${path}.damaged-${Date.now()}`;
    await Deno.rename(path, aside);
    throw new OmertaError(
      "leases-damaged",
      `Cannot read ${path}: it is damaged, now kept as ${aside}`,
      {
        exit: EXIT.failed,
        next: "Start again: the VMs in it end by themselves at their lenders",
      },
    );
  }

  /** The VMs, oldest first. */
  list(): BorrowedVm[] {
    return [...this.#vms.values()];
  }

  /** The VM of this id. */
  get(id: string): BorrowedVm | undefined {
    return this.#vms.get(id);
  }

  /**
   * The one VM with this name, `NAME.omerta`, address in the tunnel, or whose id begins with `text`.
   *
   * @throws {OmertaError} `unknown-vm` or `ambiguous-vm`, naming what there is.
   */
  find(text: string): BorrowedVm {
    const named = this.list().filter(({ name, address }) =>
      name === text || `${name}.omerta` === text || address === text
    );
    const found = named.length > 0 ? named : this.list().filter((vm) => vm.id.startsWith(text));
    const [first, ...others] = found;
    if (first && others.length === 0) return first;
    if (first) {
      throw new OmertaError(
        "ambiguous-vm",
        `Cannot choose a VM by '${text}': ${
          found.map(({ id, name }) => `${name} (${id})`).join(", ")
        }`,
        { exit: EXIT.usage, next: "Give more characters of the id" },
      );
    }
    throw new OmertaError("unknown-vm", `Cannot find a borrowed VM named '${text}'`, {
      exit: EXIT.usage,
      next: this.#vms.size === 0
        ? "Borrow one with 'omerta vm request'"
        : `There are: ${this.list().map(({ name }) => name).join(", ")}`,
    });
  }

  /** Adds or replaces a VM and writes the file. */
  async put(vm: BorrowedVm): Promise<void> {
    this.#vms.set(vm.id, vm);
    await this.#save();
  }

  /** Forgets a VM and writes the file. */
  async remove(id: string): Promise<void> {
    if (this.#vms.delete(id)) await this.#save();
  }

  async #save(): Promise<void> {
    const file = { version: 1, vms: this.list() };
    await writeFileAtomic(this.#path, JSON.stringify(file, null, 2) + "\n");
  }
}
