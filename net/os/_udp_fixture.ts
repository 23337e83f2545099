/**
 * A program for the UDP test, to be run inside a network namespace: sends one datagram of each length
 * it is given to itself, in one burst, and prints the lengths that arrive and the calls it took.
 *
 * @module
 */

import { Endpoint } from "./endpoint.ts";
import { openUdpLinux } from "./udp_linux.ts";

function main(lengths: readonly number[]): string {
  using from = openUdpLinux({ port: 0 });
  using to = openUdpLinux({ port: 0 });
  const endpoint = Endpoint.of("127.0.0.1", to.port);
  if (endpoint === undefined) throw new TypeError("Cannot make an endpoint");
  for (const length of lengths) {
    from.out.reserve(length);
    from.out.commit(length, endpoint);
  }
  from.out.flush();
  const arrived: number[] = [];
  // Loopback delivers before the send returns.
  to.drain({ receive: (_buffer, _at, length) => arrived.push(length) }, 1000);
  return JSON.stringify({ arrived, sendCalls: from.counters.sendCalls });
}

if (import.meta.main) {
  await Deno.stdout.write(new TextEncoder().encode(main(Deno.args.map(Number))));
}
