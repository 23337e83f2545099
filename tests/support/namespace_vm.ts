/**
 * A borrower whose VM is a network namespace with a WireGuard and servers of its own: everything of
 * the tunnels that needs no guest.
 *
 * @module
 */

import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { identityOf, loadConfig } from "../../lib/core/config.ts";
import { writeFileAtomic } from "../../lib/core/files.ts";
import { newVmId } from "../../lib/core/ids.ts";
import { generateSshKey } from "../../lib/core/ssh_key.ts";
import type { BorrowedVm } from "../../lib/node/lease_store.ts";
import { presharedKeyOf } from "../../net/mesh/network_key.ts";
import {
  type FixtureConfig,
  type RunningPlane,
  startPlane,
} from "../../net/plane/plane_fixture.ts";
import { formatKey, generatePrivateKey, publicKeyOf } from "../../net/wireguard/keys.ts";
import { type Namespace, NetLab } from "../netlab/netlab.ts";
import { Home } from "./home.ts";
import { NOBODY } from "./ordinary_user.ts";

/** Where the VM's lender would be. */
const LENDER = "192.168.1.100";
/** The lender's UDP port, here the VM's own. */
const PORT = 51820;

/** A VM that is none. */
export class NamespaceVm implements AsyncDisposable {
  /** What the borrower knows of it. */
  readonly lease: BorrowedVm;
  /** Its machine. */
  readonly machine: Namespace;
  readonly #config: FixtureConfig;
  #plane: RunningPlane | undefined;
  #servers: Deno.ChildProcess | undefined;

  private constructor(machine: Namespace, lease: BorrowedVm, config: FixtureConfig) {
    this.machine = machine;
    this.lease = lease;
    this.#config = config;
  }

  /** One that is off, for the borrower with this machine key. */
  static make(
    machine: Namespace,
    machineKey: Uint8Array,
    options: Partial<Pick<BorrowedVm, "address" | "hostKey">> = {},
  ): NamespaceVm {
    const key = generatePrivateKey();
    const network = new Uint8Array(randomBytes(32));
    const presharedKey = presharedKeyOf(network, publicKeyOf(key), machineKey).toHex();
    const lease: BorrowedVm = {
      ...{ id: newVmId(), name: "web", host: LENDER, endpoint: { address: LENDER, port: PORT } },
      ...{ machine: "01".repeat(32), network: network.toHex(), address: "10.0.0.2" },
      ...{ wireguardKey: formatKey(publicKeyOf(key)), hostKey: generateSshKey("vm").publicLine },
      ...{ since: Date.now(), readyAt: Date.now(), mode: "filtered", dryRun: false },
      ...options,
    };
    return new NamespaceVm(machine, lease, {
      privateKey: key.toHex(),
      port: PORT,
      tun: { name: "omerta0", address: `${lease.address}/16` },
      peers: [{ publicKey: machineKey.toHex(), presharedKey, allowedIps: ["10.0.0.1/32"] }],
    });
  }

  /** Switches it on. */
  async start(): Promise<void> {
    this.#plane = await startPlane(this.machine, this.#config);
    const program = new URL("vm_servers.ts", import.meta.url).pathname;
    const args = ["run", "-A", "--quiet", program, this.lease.address];
    const servers = this.machine.spawn(Deno.execPath(), args, { stdout: "piped" });
    this.#servers = servers;
    for await (const _ready of servers.stdout.values({ preventCancel: true })) break;
  }

  /** Switches it off, as if by its power button. */
  async stop(): Promise<void> {
    const servers = this.#servers;
    this.#servers = undefined;
    if (servers !== undefined) {
      servers.kill("SIGKILL");
      await servers.stdout.cancel();
      await servers.status;
    }
    this.#plane?.child.kill("SIGKILL");
    await this.#plane?.[Symbol.asyncDispose]();
    this.#plane = undefined;
  }

  /** Switches it off. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop();
  }
}

/** A borrower and what it has borrowed. */
export interface NamespaceWorld extends AsyncDisposable {
  /** The borrower, whose daemon does not run yet. */
  readonly borrower: Home;
  /** The borrower's machine. */
  readonly machine: Namespace;
  /** The VM, which is on. */
  readonly vm: NamespaceVm;
  /** Another one for the borrower on the same machine, which is off. */
  makeVm(options?: Partial<Pick<BorrowedVm, "address" | "hostKey">>): NamespaceVm;
  /** Has the borrower's next daemon find these. */
  borrow(...vms: readonly NamespaceVm[]): Promise<void>;
}

/** What a {@link NamespaceWorld} is made of. */
export interface NamespaceWorldOptions extends Partial<Pick<BorrowedVm, "address" | "hostKey">> {
  /** Whether the borrower is root. @default {false} */
  readonly root?: boolean;
}

/** Two machines on one network. */
export async function namespaceWorld(
  { root = false, ...options }: NamespaceWorldOptions = {},
): Promise<NamespaceWorld> {
  await using stack = new AsyncDisposableStack();
  const lab = stack.use(await NetLab.create());
  const vmMachine = await lab.namespace("vm");
  const machine = await lab.namespace("borrower");
  await lab.connect(vmMachine, `${LENDER}/24`, machine, "192.168.1.7/24");
  const borrower = stack.use(
    await (root ? Home.create(machine) : Home.createWithoutRights(machine)),
  );
  const { machineKey } = identityOf(await loadConfig(borrower.paths));
  const makeVm = (more = {}): NamespaceVm => NamespaceVm.make(vmMachine, machineKey, more);
  const borrow = async (...vms: readonly NamespaceVm[]): Promise<void> => {
    const leases = { version: 1, vms: vms.map(({ lease }) => lease) };
    await writeFileAtomic(borrower.paths.leases, JSON.stringify(leases));
    if (!root) await Deno.chown(borrower.paths.leases, NOBODY, NOBODY);
  };
  const vm = stack.use(makeVm(options));
  await vm.start();
  await borrow(vm);
  assert.equal(await borrower.hasTun(), false);
  const owned = stack.move();
  return {
    ...{ borrower, machine, vm, makeVm, borrow },
    [Symbol.asyncDispose]: () => owned.disposeAsync(),
  };
}
