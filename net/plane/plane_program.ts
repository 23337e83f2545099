/**
 * A program for tests and benchmarks, to be run inside a network namespace: one data plane with a
 * TUN device or a stack and peers, which prints `ready PORT` and ends when its standard input does. A
 * line on its standard input is answered by one line of JSON: `ping HOST`, `greet HOST PORT`,
 * `proxy ID JSON`, `close ID`, and anything else by the counters.
 *
 * ```
 * plane_program.ts '{"privateKey": "<hex>", "port": 51820, "tun": {...}, "peers": [{...}]}'
 * ```
 *
 * @module
 */

import { Endpoint } from "../os/endpoint.ts";
import { Plane, type TunSettings } from "./plane.ts";
import { servePlane } from "./worker.ts";

/** What the program is given. */
export interface FixtureConfig {
  /** X25519 private key, hex. */
  readonly privateKey: string;
  /** UDP port. */
  readonly port: number;
  /** TUN device; none without. */
  readonly tun?: TunSettings;
  /** Address of a stack of its own; none without. */
  readonly stack?: string;
  /** Peers. */
  readonly peers: readonly {
    /** X25519 public key, hex. */
    readonly publicKey: string;
    /** Preshared key, hex. */
    readonly presharedKey?: string;
    /** Address and port; none waits for the peer to begin. */
    readonly endpoint?: readonly [string, number];
    /** Inner prefixes. */
    readonly allowedIps: readonly string[];
  }[];
}

async function answerTo(plane: Plane, [word, host = "", port]: string[]): Promise<unknown> {
  if (word === "ping") return await plane.ping(host, 5000);
  if (word === "greet") return { line: await plane.greeting(host, Number(port), 5000) };
  if (word === "proxy") return { port: await plane.openProxy(host, JSON.parse(port ?? "")) };
  if (word === "close") return { existed: await plane.closeProxy(host) };
  return await plane.stats();
}

async function main(config: FixtureConfig): Promise<void> {
  await using plane = await Plane.start({
    module: new URL(import.meta.url),
    port: config.port,
    privateKey: Uint8Array.fromHex(config.privateKey),
    ...(config.tun ? { tun: config.tun } : {}),
  }, {
    onControl: () => {},
    onPeer: () => {},
    onGuest: () => {},
    onFailed: (error) => {
      throw error;
    },
  });
  if (config.stack) await plane.openStack(config.stack, 1400);
  for (const peer of config.peers) {
    const endpoint = peer.endpoint && Endpoint.of(...peer.endpoint);
    await plane.addPeer({
      publicKey: Uint8Array.fromHex(peer.publicKey),
      allowedIps: peer.allowedIps,
      ...(endpoint ? { endpoint } : {}),
      ...(peer.presharedKey ? { presharedKey: Uint8Array.fromHex(peer.presharedKey) } : {}),
    });
  }
  const text = new TextEncoder();
  await Deno.stdout.write(text.encode(`ready ${plane.port}\n`));
  const line = new Uint8Array(1024);
  for (let length; (length = await Deno.stdin.read(line)) !== null;) {
    const words = new TextDecoder().decode(line.subarray(0, length)).trim().split(" ");
    const answer = await answerTo(plane, words);
    await Deno.stdout.write(text.encode(`${JSON.stringify(answer)}\n`));
  }
}

if ("WorkerGlobalScope" in globalThis) servePlane();
else if (import.meta.main) await main(JSON.parse(Deno.args[0] ?? "{}"));
