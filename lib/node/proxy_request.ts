/**
 * What a user may open between programs of this computer and borrowed VMs, as a schema: it comes over
 * the daemon's API, and from the file of those that are remembered.
 *
 * @module
 */

import { z } from "zod";
import { streamAddressText } from "../../net/os/stream_socket.ts";

const Port = z.int().min(1).max(65535);

/** An address and port of this computer. */
const Place = z.strictObject({
  /** IPv4 or IPv6 literal. */
  address: z.union([z.ipv4(), z.ipv6()]),
  /** Port. */
  port: Port,
});

/** What names a VM: inside there is IPv4 only, so no address has a colon. */
const Host = z.string().regex(
  /^[A-Za-z0-9._-]{1,253}$/,
  "want the name, id or IPv4 address of a VM",
);

/** Name of a user, or a password: 1 to 255 bytes. */
const Secret = z.string().min(1).refine(
  (text) => new TextEncoder().encode(text).length <= 255,
  "want at most 255 bytes",
);

/** What may be opened. */
export const ProxyRequest = z.discriminatedUnion("kind", [
  z.strictObject({
    /** A port of this computer that leads to one of a VM. */
    kind: z.literal("forward"),
    /** Where to listen. */
    listen: Place,
    /** Name, id or address of the VM. */
    host: Host,
    /** Its port. */
    port: Port,
  }),
  z.strictObject({
    /** A port that the VMs see at the borrower's own address, and that leads to this computer. */
    kind: z.literal("reverse"),
    /** The port that they see. */
    port: Port,
    /** Where it leads. */
    to: Place,
  }),
  z.strictObject({
    /** A SOCKS5 server. */
    kind: z.literal("socks"),
    /** Where to listen. */
    listen: Place,
    /** Who may use it; null: everybody who reaches it. */
    credentials: z.strictObject({
      /** User name. */
      user: Secret,
      /** Password. */
      password: Secret,
    }).nullable(),
  }),
]);
/** What may be opened. */
export type ProxyRequest = z.infer<typeof ProxyRequest>;

/** Where it is to listen and where that is to lead, in the words of one that is open. */
export function proxyWords(
  request: ProxyRequest,
): { readonly listen: string; readonly to: string | undefined } {
  switch (request.kind) {
    case "forward":
      return {
        listen: placeText(request.listen),
        to: placeText({ address: request.host, port: request.port }),
      };
    case "reverse":
      return { listen: `${request.port}`, to: placeText(request.to) };
    case "socks":
      return { listen: placeText(request.listen), to: undefined };
  }
}

function placeText(place: z.infer<typeof Place>): string {
  return streamAddressText({ kind: "tcp", ...place });
}
