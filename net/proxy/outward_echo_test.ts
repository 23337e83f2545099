import assert from "node:assert/strict";
import { readU16 } from "../wire/bytes.ts";
import { parseIcmp } from "../wire/icmp.ts";
import { parseIpv4Packet } from "../wire/ipv4.ts";
import { Gateway, type GatewayOptions } from "./gateway.ts";
import { echo, GATEWAY, GUEST, Inside, SERVER, STRANGER } from "./gateway_fixture.ts";
import { MAX_ECHOES, MAX_OF_SOURCE, WAIT_MS } from "./outward_echo.ts";

const DATA = Uint8Array.fromHex("0102030405");

/** A gateway, and whoever answers pings. */
class Made implements Disposable {
  readonly inside = new Inside();
  readonly gateway: Gateway;

  constructor(options: GatewayOptions = {}, pings = true) {
    const { datagrams, link, loop } = this.inside;
    datagrams.pings = pings;
    this.gateway = new Gateway(loop, link, { datagrams, ...options });
  }

  get echo(): Gateway["echo"] {
    return this.gateway.echo;
  }

  /** Our numbers of the requests that have left, and forgets them. */
  numbers(): number[] {
    const sent = this.inside.datagrams.ping?.sent.splice(0) ?? [];
    return sent.map((line) => readU16(Uint8Array.fromHex(line.split(" ")[1] ?? ""), 6));
  }

  /** Has an answer arrive. */
  answer(from: number, sequence: number, data = DATA, type = 0): void {
    this.inside.datagrams.ping?.arrive(from, 0, echo(type, 0, sequence, data));
    this.inside.turn();
  }

  [Symbol.dispose](): void {
    this.gateway[Symbol.dispose]();
    this.inside[Symbol.dispose]();
    assert.equal(this.inside.datagrams.open.size, 0);
  }
}

Deno.test("G1: OutwardEcho gives each pinger his own answer, with his identifier and number", () => {
  using made = new Made();
  const { inside } = made;
  assert.ok(made.echo.available);
  inside.ping(GUEST, SERVER, 7, 1, DATA);
  inside.ping(GUEST + 1, SERVER, 7, 1, DATA);
  inside.ping(GUEST, STRANGER, 7, 1, new Uint8Array(0));
  const [line] = inside.datagrams.ping?.sent ?? [];
  assert.match(line ?? "", /^192\.0\.2\.7:0 0800.{12}0102030405$/);
  const [first = 0, second = 0, third = 0] = made.numbers();
  assert.equal(made.echo.waiting, 3);
  made.answer(SERVER, second);
  made.answer(SERVER, first);
  made.answer(STRANGER, third, new Uint8Array(0));
  assert.deepEqual(inside.said(), [
    "ICMP 192.0.2.7 > 10.0.0.3 echo reply id 7 seq 1 len 5",
    "ICMP 192.0.2.7 > 10.0.0.2 echo reply id 7 seq 1 len 5",
    "ICMP 192.0.2.8 > 10.0.0.2 echo reply id 7 seq 1 len 0",
  ]);
  assert.equal(made.echo.waiting, 0);
  const { requests, answers, strangers } = made.echo.counters;
  assert.deepEqual([requests, answers, strangers], [3, 3, 0]);
});

Deno.test("G1: OutwardEcho passes data on as it comes, in fragments above the MTU", () => {
  using made = new Made();
  const { inside } = made;
  inside.ping(GUEST, SERVER, 7, 1, DATA);
  const [number = 0] = made.numbers();
  made.answer(SERVER, number, Uint8Array.fromHex("ffee"));
  const [packet = new Uint8Array()] = inside.sink.take();
  const ip = parseIpv4Packet(packet);
  assert.ok(typeof ip !== "string");
  const icmp = parseIcmp(ip.payload);
  assert.ok(typeof icmp !== "string");
  assert.deepEqual([icmp.type, icmp.rest, icmp.data.toHex()], [0, 0x70001, "ffee"]);
  inside.ping(GUEST, SERVER, 7, 2, DATA);
  const [next = 0] = made.numbers();
  made.answer(SERVER, next, new Uint8Array(3000));
  assert.deepEqual(inside.sink.take().map(({ length }) => length), [1396, 1396, 276]);
});

Deno.test("G1: OutwardEcho takes an answer from whom was asked, with its number, and once", () => {
  using made = new Made();
  const { inside } = made;
  inside.ping(GUEST, SERVER, 7, 1, DATA);
  const [number = 0] = made.numbers();
  made.answer(STRANGER, number);
  made.answer(SERVER, (number + 1) & 0xffff);
  made.answer(SERVER, (number + MAX_ECHOES) & 0xffff);
  made.answer(SERVER, number, DATA, 8);
  // Behind its end lies what somebody else has received.
  made.echo.take(echo(0, 0, number, DATA), 0, 7, SERVER);
  assert.deepEqual(inside.said(), []);
  made.answer(SERVER, number);
  made.answer(SERVER, number);
  assert.equal(inside.said().length, 1);
  const { strangers, answers } = made.echo.counters;
  assert.deepEqual([strangers, answers], [6, 1]);
});

Deno.test("G1: OutwardEcho waits for its time, and drops what is more than may wait", () => {
  using made = new Made();
  const { inside } = made;
  for (let i = 0; i < MAX_OF_SOURCE + 1; i++) inside.ping(GUEST, SERVER, 1, i, DATA);
  assert.equal(made.echo.counters.dropped, 1);
  // Of others there is room, until the table is full. The stack lets 1000 pass in a second.
  inside.turn(1000);
  for (let i = MAX_OF_SOURCE; i < MAX_ECHOES; i++) {
    inside.ping(GUEST + Math.floor(i / MAX_OF_SOURCE), SERVER, 1, i, DATA);
  }
  assert.equal(made.echo.waiting, MAX_ECHOES);
  const numbers = made.numbers();
  assert.equal(new Set(numbers).size, MAX_ECHOES);
  inside.ping(GUEST + 9, SERVER, 1, 1, DATA);
  assert.equal(made.echo.counters.dropped, 2);
  made.answer(SERVER, numbers[MAX_ECHOES - 1] ?? 0);
  inside.ping(GUEST + 9, SERVER, 1, 1, DATA);
  assert.equal(made.echo.counters.dropped, 2);
  inside.said();
  inside.turn(WAIT_MS - 1000);
  assert.equal(made.echo.waiting, MAX_ECHOES - MAX_OF_SOURCE);
  inside.turn(2000);
  assert.equal(made.echo.waiting, 0);
  made.answer(SERVER, numbers[5] ?? 0);
  assert.deepEqual(inside.said(), []);
});

Deno.test("G1: OutwardEcho answers for nobody where pings may not leave; the gateway answers for itself", () => {
  using made = new Made({}, false);
  const { inside } = made;
  assert.equal(made.echo.available, false);
  inside.ping(GUEST, SERVER, 7, 1, DATA);
  assert.deepEqual(inside.said(), []);
  assert.equal(made.echo.counters.dropped, 1);
  inside.ping(GUEST, GATEWAY, 7, 1, DATA);
  assert.deepEqual(inside.said(), ["ICMP 10.0.0.1 > 10.0.0.2 echo reply id 7 seq 1 len 5"]);
});

Deno.test("G1: OutwardEcho sends nothing to where nobody may, and tells that no way leads there", () => {
  using made = new Made({
    allow: (to, port, from) => to !== SERVER || port !== 0 || from !== GUEST,
  });
  const { inside } = made;
  const told = "ICMP 192.0.2.7 > 10.0.0.2 unreachable code 1 len 28";
  inside.ping(GUEST, SERVER, 7, 1, DATA);
  assert.deepEqual(inside.said(), [told]);
  assert.deepEqual(made.numbers(), []);
  inside.datagrams.fault = "unreachable";
  inside.ping(GUEST, STRANGER, 7, 1, DATA);
  assert.deepEqual(inside.said(), ["ICMP 192.0.2.8 > 10.0.0.2 unreachable code 1 len 28"]);
  inside.datagrams.fault = "full";
  inside.ping(GUEST, STRANGER, 7, 1, DATA);
  assert.deepEqual(inside.said(), []);
  assert.equal(made.echo.waiting, 0);
  for (const to of [0x7f000001, 0xe0000001, 0xffffffff]) inside.ping(GUEST, to, 7, 1, DATA);
  const { refused, unreachable, dropped, requests } = made.echo.counters;
  assert.deepEqual([refused, unreachable, dropped, requests], [1, 1, 1, 0]);
});

Deno.test("G1: OutwardEcho leaves pings to the stack once it is stopped", () => {
  using made = new Made();
  const { inside, gateway } = made;
  gateway[Symbol.dispose]();
  inside.ping(GUEST, SERVER, 7, 1, DATA);
  assert.deepEqual(inside.said(), ["ICMP 192.0.2.7 > 10.0.0.2 echo reply id 7 seq 1 len 5"]);
});
