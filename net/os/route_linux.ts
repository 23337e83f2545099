/**
 * Where packets leave this host, and what kind of interface that is: `RTM_GETROUTE` and
 * `RTM_GETLINK` of rtnetlink(7).
 *
 * @module
 */

import { ask, attribute, attributesOf, NLM_F, numberOf, textOf, u32 } from "./_netlink.ts";

const AF_INET = 2;
const RTM_GETLINK = 18;
const RTM_GETROUTE = 26;
const RTMSG_LEN = 12;
const RTM_TYPE = 7;
const RTN_UNICAST = 1;
const RTA = { dst: 1, oif: 4, prefsrc: 7 } as const;
const IFINFO_LEN = 16;
const IFLA = { ifname: 3, mtu: 4, linkinfo: 18 } as const;
const IFLA_INFO_KIND = 1;
const IFLA_INFO_DATA = 2;
const IFLA_TUN_VNET_HDR = 6;
const ARPHRD_ETHER = 1;

/** A route to one address. */
export interface Route {
  /** Whether it leads to another host; otherwise to this one, to many, or nowhere. */
  readonly unicast: boolean;
  /** Interface that it leads out of. */
  readonly ifindex: number;
  /** Address of this host that packets on it have, unsigned 32 bits. */
  readonly source: number;
}

/** An interface. */
export interface LinkInfo {
  /** Its number. */
  readonly ifindex: number;
  /** Its name. */
  readonly name: string;
  /** Largest IP packet, in bytes. */
  readonly mtu: number;
  /** Whether it carries Ethernet frames. */
  readonly ethernet: boolean;
  /** Of a TUN or TAP: whether its program may leave checksums and segmentation to the kernel. */
  readonly offloads: boolean;
}

/**
 * The route that the kernel takes to an IPv4 address.
 *
 * @param destination Unsigned 32 bits.
 * @throws {OmertaError} `netlink-failed`, when there is none.
 */
export function routeTo(destination: number, what: string): Route {
  const header = new Uint8Array(RTMSG_LEN);
  header[0] = AF_INET;
  header[1] = 32;
  const address = new Uint8Array(4);
  new DataView(address.buffer).setUint32(0, destination);
  const to = attribute(RTA.dst, address);
  const answer = ask(what, RTM_GETROUTE, 0, new Uint8Array([...header, ...to]))[0];
  const fields = attributesOf(answer?.subarray(RTMSG_LEN) ?? new Uint8Array());
  const source = fields.get(RTA.prefsrc);
  return {
    unicast: answer?.[RTM_TYPE] === RTN_UNICAST,
    ifindex: numberOf(fields.get(RTA.oif)) ?? 0,
    source: source ? new DataView(source.buffer, source.byteOffset).getUint32(0) : 0,
  };
}

/**
 * What kind of interface this is.
 *
 * @param which Its number or its name.
 * @throws {OmertaError} `netlink-failed`, when there is none.
 */
export function linkInfo(which: number | string): LinkInfo {
  const header = new Uint8Array(IFINFO_LEN);
  if (typeof which === "number") header.set(u32(which), 4);
  const name = typeof which === "string" ? nameAttribute(which) : new Uint8Array();
  const what = `find interface ${which}`;
  const answer = ask(what, RTM_GETLINK, 0, new Uint8Array([...header, ...name]))[0];
  return linkOf(answer ?? header);
}

/**
 * All interfaces of the caller's network namespace.
 *
 * @throws {OmertaError} `netlink-failed`.
 */
export function allLinks(): LinkInfo[] {
  return ask("list interfaces", RTM_GETLINK, NLM_F.dump, new Uint8Array(IFINFO_LEN)).map(linkOf);
}

function linkOf(body: Uint8Array): LinkInfo {
  const view = new DataView(body.buffer, body.byteOffset);
  const fields = attributesOf(body.subarray(IFINFO_LEN));
  const info = attributesOf(fields.get(IFLA.linkinfo) ?? new Uint8Array());
  const tun = attributesOf(info.get(IFLA_INFO_DATA) ?? new Uint8Array());
  return {
    ifindex: view.getInt32(4, true),
    name: textOf(fields.get(IFLA.ifname)) ?? "",
    mtu: numberOf(fields.get(IFLA.mtu)) ?? 0,
    ethernet: view.getUint16(2, true) === ARPHRD_ETHER,
    offloads: textOf(info.get(IFLA_INFO_KIND)) === "tun" && tun.get(IFLA_TUN_VNET_HDR)?.[0] !== 0,
  };
}

function nameAttribute(name: string): Uint8Array {
  return attribute(IFLA.ifname, new TextEncoder().encode(`${name}\0`));
}
