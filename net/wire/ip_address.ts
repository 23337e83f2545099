/**
 * IPv4 and IPv6 address literals and IPv4 prefixes, strictly parsed: outside text never goes
 * through `Number()` or `parseInt()`, which take "1e1", "0x10" and " 1".
 *
 * An IPv4 address is an unsigned 32-bit number in host order, an IPv6 address 16 bytes.
 *
 * @module
 */

/** `a.b.c.d`, decimal, no leading zeros; undefined when it is anything else. */
export function parseIpv4(text: string): number | undefined {
  let value = 0;
  let octet = -1;
  let octets = 0;
  for (let i = 0; i <= text.length; i++) {
    const c = i < text.length ? text.charCodeAt(i) : 46;
    if (c === 46) {
      if (octet < 0) return undefined;
      value = value * 256 + octet;
      octets++;
      octet = -1;
    } else if (c >= 48 && c <= 57 && octet !== 0) {
      octet = (octet < 0 ? 0 : octet * 10) + (c - 48);
      if (octet > 255) return undefined;
    } else return undefined;
  }
  return octets === 4 ? value : undefined;
}

/** Dotted decimal form of an IPv4 address. */
export function ipv4ToString(address: number): string {
  return `${address >>> 24}.${(address >>> 16) & 255}.${(address >>> 8) & 255}.${address & 255}`;
}

/** RFC 4291 section 2.2 text as 16 bytes, without zone; undefined when it is anything else. */
export function parseIpv6(text: string): Uint8Array | undefined {
  let rest = text;
  let tail: number[] = [];
  const dot = text.lastIndexOf(":");
  if (dot >= 0 && text.includes(".")) {
    const v4 = parseIpv4(text.slice(dot + 1));
    if (v4 === undefined) return undefined;
    tail = [v4 >>> 16, v4 & 0xffff];
    rest = text.slice(0, dot);
    // "::1.2.3.4" leaves ":" behind, which stands for the "::" that was cut in two.
    if (rest.endsWith(":")) rest += ":";
  }
  const halves = rest.split("::");
  if (halves.length > 2) return undefined;
  const head = groups(halves[0] ?? "");
  const last = halves.length === 2 ? groups(halves[1] ?? "") : [];
  if (head === undefined || last === undefined) return undefined;
  const known = head.length + last.length + tail.length;
  if (halves.length === 2 ? known > 7 : known !== 8) return undefined;
  const all = [...head, ...new Array<number>(8 - known).fill(0), ...last, ...tail];
  const bytes = new Uint8Array(16);
  all.forEach((group, i) => {
    bytes[2 * i] = group >>> 8;
    bytes[2 * i + 1] = group;
  });
  return bytes;
}

function groups(text: string): number[] | undefined {
  if (text === "") return [];
  const out: number[] = [];
  for (const group of text.split(":")) {
    if (!/^[0-9a-fA-F]{1,4}$/.test(group)) return undefined;
    out.push(Number.parseInt(group, 16));
  }
  return out;
}

/** RFC 5952 text of 16 bytes: lower case, longest run of zero groups shortened. */
export function formatIpv6(bytes: Uint8Array): string {
  const words = Array.from(
    { length: 8 },
    (_, i) => ((bytes[2 * i] ?? 0) << 8) | (bytes[2 * i + 1] ?? 0),
  );
  let best = -1;
  let bestLength = 1;
  for (let i = 0; i < 8; i++) {
    let n = 0;
    while (i + n < 8 && words[i + n] === 0) n++;
    if (n > bestLength) {
      best = i;
      bestLength = n;
    }
  }
  const hex = words.map((word) => word.toString(16));
  if (best < 0) return hex.join(":");
  return `${hex.slice(0, best).join(":")}::${hex.slice(best + bestLength).join(":")}`;
}

/** An IPv4 prefix: `address` has no bits set outside `mask`. */
export interface Ipv4Prefix {
  /** Network address, unsigned 32 bits. */
  readonly address: number;
  /** Netmask, unsigned 32 bits. */
  readonly mask: number;
  /** Prefix length, 0 to 32 bits. */
  readonly bits: number;
}

/** `a.b.c.d/n`; bits outside the prefix must be zero. Undefined when it is anything else. */
export function parseIpv4Prefix(text: string): Ipv4Prefix | undefined {
  const slash = text.indexOf("/");
  if (slash < 0 || !/^(?:[0-9]|[12][0-9]|3[0-2])$/.test(text.slice(slash + 1))) return undefined;
  const address = parseIpv4(text.slice(0, slash));
  if (address === undefined) return undefined;
  const bits = Number(text.slice(slash + 1));
  const mask = bits === 0 ? 0 : (0xffffffff << (32 - bits)) >>> 0;
  if (((address & ~mask) >>> 0) !== 0) return undefined;
  return { address, mask, bits };
}

/** Whether `address` lies in `prefix`. */
export function inPrefix(address: number, prefix: Ipv4Prefix): boolean {
  return ((address & prefix.mask) >>> 0) === prefix.address;
}
