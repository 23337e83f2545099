/**
 * `omerta vpn config`: a tunnel to a borrowed VM for another WireGuard of this computer, as wg-quick
 * reads it.
 *
 * The configuration has keys of its own, made here and for this one VM: the machine's key stays where
 * it is. Two things have to be told of it. The VM, that there is a second peer: by ssh, through the
 * tunnel that is there. The node, that it carries the messages of the two to each other: both
 * tunnels, the node's and this one, go through the node's one UDP port, because that is all that the
 * lender's filter lets the VM reach, and all that a NAT on the way knows. So both work side by side.
 *
 * @module
 */

import { basename } from "node:path";
import { Command, type CommandUnknownOpts, Option } from "@commander-js/extra-typings";
import type { ApiClient } from "../../lib/api/client.ts";
import type { VmView } from "../../lib/api/schemas.ts";
import type { ClientView } from "../../lib/api/tunnel_schemas.ts";
import { EXIT, messageOf, OmertaError } from "../../lib/core/errors.ts";
import { writeFileAtomic } from "../../lib/core/files.ts";
import { parsePort } from "../../lib/core/link.ts";
import { Endpoint } from "../../net/os/endpoint.ts";
import { parseIpv4 } from "../../net/wire/ip_address.ts";
import { emitConfig } from "../../net/wireguard/config_text.ts";
import { formatKey, generatePrivateKey, parseKey, publicKeyOf } from "../../net/wireguard/keys.ts";
import { type Context, interruptible, runningDaemon } from "../context.ts";
import { Guest } from "../job/guest.ts";
import { sshProxy } from "../ssh_proxy.ts";
import { note, print, warn } from "../output.ts";
import { addClientScript, NO_WG, removeClientScript } from "../tunnel/client_peer.ts";

/** UDP port of the first client; the ones after it take those that follow. */
const FIRST_PORT = 21_821;
/** MTU inside, in bytes: the same as of the node's own interface. */
const MTU = 1400;
/** Keepalive, in s: it begins the tunnel, and keeps it known to the VM. */
const KEEPALIVE_S = 15;

/** The command. */
export function vpnConfigCommand(context: Context): CommandUnknownOpts {
  return new Command("config")
    .description(
      "Make a wg-quick configuration for a borrowed VM, to use it with the kernel's WireGuard of " +
        "this computer; a former one of the VM ends",
    )
    .argument("<vm>", "name, or a unique beginning of the id")
    .option("--out <file>", "write it there, for this user only, instead of printing it", parseOut)
    .option("--listen-port <port>", "UDP port of that WireGuard on this computer", parsePort)
    .addOption(
      new Option("--remove", "end the former one and make none").conflicts(["out", "listenPort"]),
    )
    .action(async (name, { out, listenPort, remove }) => {
      using client = await runningDaemon(context);
      await interruptible((signal) =>
        remove
          ? removeClient(context, client, name, signal)
          : makeClient(context, client, name, { out, listenPort }, signal)
      );
    });
}

async function makeClient(
  context: Context,
  client: ApiClient,
  name: string,
  { out, listenPort }: {
    readonly out: string | undefined;
    readonly listenPort: number | undefined;
  },
  signal: AbortSignal,
): Promise<void> {
  const vm = await client.vm(name);
  await checkDown(client, vm);
  const port = listenPort ?? await freePort(client, vm.id);
  const privateKey = generatePrivateKey();
  const publicKey = formatKey(publicKeyOf(privateKey));
  const view = await client.setClient(vm.id, { publicKey, port });
  try {
    const proxy = await sshProxy(client, context.paths);
    const guest = new Guest(vm, context.paths, signal, proxy);
    await inVm(guest, addClientScript(publicKey, view.address));
    const text = clientConfig(privateKey, port, view);
    if (out === undefined) {
      warn("What follows holds a private key: whoever has it gets into the VM's tunnel");
      print(text.trimEnd());
    } else {
      await writeFileAtomic(out, text);
      print(`Wrote ${out}: sudo wg-quick up ${out.includes("/") ? out : `./${out}`}`);
    }
  } catch (error) {
    await client.removeClient(vm.id).catch((later: unknown) => warn(messageOf(later)));
    throw error;
  }
}

async function removeClient(
  context: Context,
  client: ApiClient,
  name: string,
  signal: AbortSignal,
): Promise<void> {
  const vm = await client.vm(name);
  await checkDown(client, vm);
  if (!await client.removeClient(vm.id)) {
    throw new OmertaError(
      "no-client",
      `Cannot end the configuration of VM "${name}": it has none`,
      {
        exit: EXIT.usage,
      },
    );
  }
  // From here on nothing is carried for it; that the VM forgets the key too is tidiness.
  try {
    const proxy = await sshProxy(client, context.paths);
    const guest = new Guest(vm, context.paths, signal, proxy);
    await inVm(guest, removeClientScript());
  } catch (error) {
    signal.throwIfAborted();
    warn(messageOf(error));
  }
  note(`The configuration of ${vm.name} works no more; 'wg-quick down' takes its interface away`);
}

/**
 * A former client that is up has the closer route to the VM: what would end it would go by it.
 *
 * @throws {OmertaError} `client-up`.
 */
async function checkDown(client: ApiClient, vm: VmView): Promise<void> {
  const { tunnels } = await client.tunnels();
  const former = tunnels.find(({ role, id }) => role === "borrowed" && id === vm.id)?.client;
  const up = former && Deno.networkInterfaces().find(({ address }) => address === former.address);
  if (!up) return;
  throw new OmertaError(
    "client-up",
    `Cannot end the former configuration of VM "${vm.name}": its interface ${up.name} is up`,
    { next: `Take it down first, as with: sudo wg-quick down ./${up.name}.conf` },
  );
}

async function inVm(guest: Guest, script: string): Promise<void> {
  const { code, stderr } = await guest.try("sudo sh -s", script);
  if (code === 0) return;
  const reason = code === NO_WG
    ? "its image has no wg"
    : stderr.trim().split("\n").slice(-3).join("; ") || `exit code ${code}`;
  throw new OmertaError(
    "peer-failed",
    `Cannot tell VM "${guest.vm.name}" of another peer: ${reason}`,
    code === NO_WG
      ? { exit: EXIT.missing, next: "Use an image that 'omerta image build' has made" }
      : {},
  );
}

/** The lowest port that no other VM's client has. */
async function freePort(client: ApiClient, id: string): Promise<number> {
  const { tunnels } = await client.tunnels();
  const taken = new Set(tunnels.filter((one) => one.id !== id).map((one) => one.client?.port));
  let port = FIRST_PORT;
  while (taken.has(port)) port++;
  return port;
}

function clientConfig(privateKey: Uint8Array, port: number, view: ClientView): string {
  const [own, vm] = [parseIpv4(view.address), parseIpv4(view.vmAddress)];
  const [vmKey, node] = [parseKey(view.vmKey), Endpoint.of("127.0.0.1", view.nodePort)];
  if (own === undefined || vm === undefined || !vmKey || !node) {
    throw new TypeError("Cannot use what the daemon has answered");
  }
  return emitConfig({
    privateKey,
    addresses: [{ address: own, bits: 32 }],
    listenPort: port,
    mtu: MTU,
    peers: [{
      publicKey: vmKey,
      allowedIps: [{ address: vm, mask: 0xffffffff, bits: 32 }],
      endpoint: node,
      keepaliveSeconds: KEEPALIVE_S,
    }],
  });
}

/** wg-quick calls the interface as the file is called, and takes no other names. */
function parseOut(path: string): string {
  if (/^[a-zA-Z0-9_=+.-]{1,15}\.conf$/.test(basename(path))) return path;
  throw new OmertaError(
    "bad-option",
    `Cannot use --out '${path}': want a name of 1 to 15 of A-Z, a-z, 0-9 and '_=+.-', and .conf`,
    { exit: EXIT.usage, next: "wg-quick calls the interface as the file is called" },
  );
}
