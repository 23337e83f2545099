/**
 * The rules of the filter a second time: slow, plain, and sharing no code with it, so that the two
 * can be compared on frames nobody thought of. Only for tests.
 *
 * A rule is a word and a condition that makes it apply; the first that applies names the refusal.
 * Addresses are text and frames are arrays of numbers, so that nothing is read in the same way.
 *
 * @module
 */

/** What the filter knew when it judged. */
export interface ReferenceState {
  /** What is allowed, as `192.168.100.1:51820`. */
  readonly allowed: readonly string[];
  /** Whether an uplink is set. */
  readonly uplink: boolean;
}

const GUEST = "52:54:00:00:64:02 192.168.100.2";
const GATEWAY = "02:00:00:00:64:01 192.168.100.1";
const [GUEST_MAC = "", GUEST_IP = ""] = GUEST.split(" ");
const [GATEWAY_MAC = "", GATEWAY_IP = ""] = GATEWAY.split(" ");

type Rule = readonly [word: string, applies: boolean | (() => boolean)];

/** The word for what must become of a frame of the guest. */
export function referenceVerdict(bytes: Uint8Array, state: ReferenceState): string {
  const f = [...bytes];
  const word = (at: number): number => (f[at] ?? NaN) * 256 + (f[at + 1] ?? NaN);
  const mac = (at: number): string => f.slice(at, at + 6).map(hex).join(":");
  const ip = (at: number): string => f.slice(at, at + 4).join(".");

  const link = first([
    ["truncated", f.length < 14],
    ["too-long", f.length > 1514],
    ["source-mac", mac(6) !== GUEST_MAC],
    ["ipv6", word(12) === 0x86dd],
    ["vlan", word(12) === 0x8100 || word(12) === 0x88a8],
    ["ether-type", word(12) !== 0x0800 && word(12) !== 0x0806],
  ]);
  if (link !== undefined) return link;

  if (word(12) === 0x0806) {
    const question = `${f.slice(14, 20).map(hex).join("")} ${word(20)} ${mac(22)} ${ip(28)} > ${
      ip(38)
    }`;
    const fixed = "000108000604";
    const announcements = [
      `${fixed} 1 ${GUEST_MAC} 0.0.0.0 > ${GUEST_IP}`,
      `${fixed} 1 ${GUEST_MAC} ${GUEST_IP} > ${GUEST_IP}`,
      `${fixed} 2 ${GUEST_MAC} ${GUEST_IP} > ${GUEST_IP}`,
    ];
    return first([
      ["truncated", f.length < 42],
      ["bad-length", f.length > 60],
      ["destination-mac", mac(0) !== "ff:ff:ff:ff:ff:ff" && mac(0) !== GATEWAY_MAC],
      ["announced", announcements.includes(question)],
      ["answered", question === `${fixed} 1 ${GUEST_MAC} ${GUEST_IP} > ${GATEWAY_IP}`],
    ]) ?? "arp";
  }

  const addresses = state.allowed.map((endpoint) => endpoint.split(":")[0]);
  return first([
    ["destination-mac", mac(0) !== GATEWAY_MAC],
    ["truncated", f.length < 34],
    ["bad-header", () => hex(f[14])[0] !== "4" || "01234".includes(hex(f[14])[1] ?? "0")],
    ["options", hex(f[14]) !== "45"],
    ["bad-length", word(16) + 14 !== f.length],
    ["bad-checksum", () => !headerAddsUp(f.slice(14, 34))],
    ["fragment", word(20) !== 0 && word(20) !== 0x4000],
    ["source-address", ip(26) !== GUEST_IP],
    ["destination", !addresses.includes(ip(30))],
    ["protocol", f[23] !== 17],
    ["bad-length", f.length < 42 || word(38) + 34 !== f.length],
    ["port", word(34) === 0 || !state.allowed.includes(`${ip(30)}:${word(36)}`)],
    ["not-wireguard", !looksLikeWireguard(f.slice(42))],
    ["no-uplink", !state.uplink],
  ]) ?? "forwarded";
}

/** Whether a payload may pass, in either direction. */
export function looksLikeWireguard(payload: readonly number[]): boolean {
  const [type, ...reserved] = payload.slice(0, 4);
  if (reserved.join() !== "0,0,0") return false;
  if (type === 1) return payload.length === 148;
  if (type === 2) return payload.length === 92;
  if (type === 3) return payload.length === 64;
  if (type !== 4) return false;
  const packet = payload.length - 16 - 16;
  return packet >= 0 && (packet % 16 === 0 || packet >= 1280);
}

function first(rules: readonly Rule[]): string | undefined {
  return rules.find(([, applies]) => typeof applies === "function" ? applies() : applies)?.[0];
}

function hex(byte: number | undefined): string {
  return (byte ?? 0).toString(16).padStart(2, "0");
}

/** RFC 1071: the words of a valid header, with end-around carry, add up to 0xffff. */
function headerAddsUp(header: readonly number[]): boolean {
  let sum = 0;
  for (let i = 0; i < header.length; i += 2) {
    sum += (header[i] ?? 0) * 256 + (header[i + 1] ?? 0);
    if (sum > 0xffff) sum -= 0xffff;
  }
  return sum === 0xffff;
}
