/**
 * A process of a machine in a lab: does what it is told, one line of JSON for each command and each
 * answer. One holds a TAP as QEMU does, one filters for it as a node does, one is the borrower.
 *
 * @module
 */

import { guestLink } from "../../net/filter/guest_link.ts";
import { KernelFilter } from "../../net/filter/ebpf/kernel_filter.ts";
import { countsByReason } from "../../net/filter/verdict.ts";
import { Endpoint } from "../../net/os/endpoint.ts";
import type { PacketSocket, UdpSocket } from "../../net/os/packet_socket.ts";
import { openTapLinux } from "../../net/os/tap_linux.ts";
import { openUdp } from "../../net/os/udp.ts";
import { kernelUplink } from "../../net/os/uplink_linux.ts";
import { Plane } from "../../net/plane/plane.ts";
import { generatePrivateKey } from "../../net/wireguard/keys.ts";
import { KernelGuests } from "../../lib/node/kernel_guests.ts";
import { sweepKernelFilters } from "../../lib/node/kernel_host.ts";
import { startTimeOf } from "../../lib/core/process.ts";

/** What the process can be told. */
export type Command =
  | { readonly op: "tap"; readonly name: string }
  | { readonly op: "frames"; readonly frames: readonly string[] }
  | { readonly op: "take-frames" }
  | { readonly op: "udp"; readonly port: number }
  | { readonly op: "plane"; readonly port: number }
  | { readonly op: "send"; readonly to: string; readonly payloads: readonly string[] }
  | { readonly op: "take" }
  | {
    readonly op: "filter";
    readonly tap: string;
    readonly nodePort: number;
    readonly mac1Key: string;
    readonly withoutLinks: boolean;
  }
  | { readonly op: "uplink"; readonly to: string | null }
  | { readonly op: "counters" }
  | {
    readonly op: "lend";
    readonly id: string;
    readonly nodePort: number;
    readonly publicKey: string;
    readonly to: string;
  }
  | { readonly op: "poll" }
  | { readonly op: "release" }
  | { readonly op: "sweep" };

let tap: PacketSocket | undefined;
let udp: UdpSocket | undefined;
let filter: KernelFilter | undefined;
let plane: Plane | undefined;
let guests: KernelGuests | undefined;
const refusals: string[] = [];
const alarms: string[] = [];

function endpointOf(text: string): Endpoint {
  const [address = "", port = ""] = text.split(":");
  const made = Endpoint.of(address, Number(port));
  if (made === undefined) throw new RangeError(`Cannot use ${text}`);
  return made;
}

async function run(command: Command): Promise<unknown> {
  switch (command.op) {
    case "tap":
      tap = openTapLinux({ name: command.name, mtu: 1500 });
      return "there";
    case "frames":
      for (const hex of command.frames) {
        const frame = Uint8Array.fromHex(hex);
        tap?.out.buffer.set(frame, tap.out.reserve(frame.length));
        tap?.out.commit(frame.length);
      }
      return tap?.counters.refused;
    case "take-frames": {
      const frames: string[] = [];
      tap?.drain({
        receive: (b, at, length) => frames.push(b.slice(at, at + length).toHex()),
      }, 1000);
      return frames;
    }
    case "udp":
      udp = openUdp({ port: command.port });
      return udp.port;
    case "plane":
      plane = await Plane.start({
        module: new URL("../../net/plane/_plane_worker.ts", import.meta.url),
        port: command.port,
        privateKey: generatePrivateKey(),
      }, { onControl: () => {}, onPeer: () => {}, onGuest: () => {}, onFailed: () => {} });
      return plane.port;
    case "send":
      for (const hex of command.payloads) {
        const payload = Uint8Array.fromHex(hex);
        const at = udp?.out.reserve(payload.length) ?? 0;
        udp?.out.buffer.set(payload, at);
        udp?.out.commit(payload.length, endpointOf(command.to));
      }
      udp?.out.flush();
      return { calls: udp?.counters.sendCalls, sent: udp?.counters.sent };
    case "take": {
      const datagrams: { payload: string; from: string }[] = [];
      udp?.drain({
        receive: (b, at, length, names, nameAt) => {
          const from = String(Endpoint.fromSockaddr(names, nameAt));
          datagrams.push({ payload: b.slice(at, at + length).toHex(), from });
        },
      }, 1000);
      return datagrams;
    }
    case "filter":
      filter = new KernelFilter({
        ...command,
        link: guestLink(),
        mac1Key: Uint8Array.fromHex(command.mac1Key),
        owner: `omerta ${Deno.pid} ${await startTimeOf(Deno.pid)}`,
      });
      return "there";
    case "uplink": {
      const uplink = command.to === null ? undefined : endpointOf(command.to);
      const way = uplink && kernelUplink(uplink);
      filter?.setUplink(way);
      if (filter === undefined || uplink === undefined || way === undefined) return "none";
      const { fromUplinkFd: programFd, tapIndex } = filter;
      const { hostAddress } = way;
      await plane?.setKernelGuest("guest", { programFd, tapIndex, uplink, hostAddress });
      return "set";
    }
    case "counters": {
      const counters = filter?.counters();
      if (counters === undefined) return null;
      return {
        fromGuest: countsByReason(counters.fromGuest),
        fromUplink: countsByReason(counters.fromUplink),
        refused: filter?.refused().map(({ text, reason }) => `${text} (${reason})`),
      };
    }
    case "lend": {
      guests = new KernelGuests({
        nodePort: command.nodePort,
        setKernelGuest: () => Promise.resolve(),
        onRefused: (_id, reason, count, last) => refusals.push(`${count} ${reason}: ${last}`),
        onRogue: (_id, { kind, destinations }) => alarms.push(`${kind}: ${destinations}`),
      });
      const uplink = endpointOf(command.to);
      guests.check(uplink);
      await guests.addGuest({
        ...{ id: command.id, cablePath: "", guestPath: "", mac: "52:54:00:00:64:02", uplink },
        publicKey: Uint8Array.fromHex(command.publicKey),
      });
      await guests.hypervisorRuns(command.id);
      return "there";
    }
    case "poll":
      await guests?.poll();
      return {
        refusals: refusals.splice(0),
        alarms: alarms.splice(0),
        refused: guests?.refused("0123456789abcdef")?.length,
        stats: guests?.stats()[0],
      };
    case "release":
      guests?.[Symbol.dispose]();
      filter?.[Symbol.dispose]();
      return "released";
    case "sweep":
      return await sweepKernelFilters();
  }
}

if (import.meta.main) {
  const decoder = new TextDecoder();
  let text = "";
  for await (const chunk of Deno.stdin.readable) {
    text += decoder.decode(chunk, { stream: true });
    for (let end = text.indexOf("\n"); end >= 0; end = text.indexOf("\n")) {
      const command: Command = JSON.parse(text.slice(0, end));
      text = text.slice(end + 1);
      let answer: unknown;
      try {
        answer = { value: await run(command) };
      } catch (error) {
        answer = { error: String(error) };
      }
      await Deno.stdout.write(new TextEncoder().encode(`${JSON.stringify(answer)}\n`));
    }
  }
  // Its thread would keep the process.
  await plane?.close();
}
