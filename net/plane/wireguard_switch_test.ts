import assert from "node:assert/strict";
import fc from "fast-check";
import { endpoint } from "../../tests/doubles/endpoints.ts";
import { indexedMessage, initiationFor } from "../../tests/doubles/wireguard_messages.ts";
import type { Endpoint } from "../os/endpoint.ts";
import { RECENT, SwitchPort, WireguardSwitch } from "./wireguard_switch.ts";

const KEY_A = new Uint8Array(32).fill(1);
const KEY_B = new Uint8Array(32).fill(2);

const UPLINK_A = endpoint("203.0.113.1", 51820);
const UPLINK_B = endpoint("203.0.113.2", 51820);

function table(): {
  table: WireguardSwitch<string>;
  a: SwitchPort<string>;
  b: SwitchPort<string>;
  route: (bytes: Uint8Array, from: Endpoint) => string | undefined;
} {
  const table = new WireguardSwitch<string>();
  const a = new SwitchPort("a", KEY_A, UPLINK_A);
  const b = new SwitchPort("b", KEY_B, UPLINK_B);
  table.add(a);
  table.add(b);
  const route = (bytes: Uint8Array, from: Endpoint): string | undefined => {
    const padded = new Uint8Array(bytes.length + 5).fill(0xa5);
    padded.set(bytes, 5);
    return table.route(padded, 5, bytes.length, from.sockaddr, 0);
  };
  return { table, a, b, route };
}

Deno.test("WireguardSwitch gives an initiation to the guest it was made for", () => {
  const { route, table: t, a } = table();
  assert.equal(route(initiationFor(KEY_A), UPLINK_A), "a");
  assert.equal(route(initiationFor(KEY_B), UPLINK_B), "b");
  // For the device, or for the guest of another uplink.
  assert.equal(route(initiationFor(new Uint8Array(32).fill(3)), UPLINK_A), undefined);
  assert.equal(route(initiationFor(KEY_B), UPLINK_A), undefined);
  t.remove(a);
  assert.equal(route(initiationFor(KEY_A), UPLINK_A), undefined);
  assert.equal(t.size, 1);
});

Deno.test("WireguardSwitch tells two guests of one uplink apart by mac1", () => {
  const { route, b } = table();
  b.uplink = UPLINK_A;
  assert.equal(route(initiationFor(KEY_A), UPLINK_A), "a");
  assert.equal(route(initiationFor(KEY_B), UPLINK_A), "b");
});

for (const type of [2, 3, 4]) {
  Deno.test(`WireguardSwitch gives a message of type ${type} to the guest that sent its index`, () => {
    const { table: t, a, b, route } = table();
    const learn = (port: SwitchPort<string>, bytes: Uint8Array): void =>
      t.learn(port, bytes, 0, bytes.length);
    learn(a, indexedMessage(1, 0xfedcba98));
    learn(b, indexedMessage(2, 77, 5));
    assert.equal(route(indexedMessage(type, 0, 0xfedcba98), UPLINK_A), "a");
    assert.equal(route(indexedMessage(type, 0, 77), UPLINK_B), "b");
    assert.equal(route(indexedMessage(type, 0, 78), UPLINK_B), undefined);
    // Not from the guest's uplink: somebody has seen or guessed the index.
    assert.equal(route(indexedMessage(type, 0, 77), UPLINK_A), undefined);
    b.uplink = undefined;
    assert.equal(route(indexedMessage(type, 0, 77), UPLINK_B), undefined);
    t.remove(a);
    assert.equal(route(indexedMessage(type, 0, 0xfedcba98), UPLINK_A), undefined);
  });
}

Deno.test("WireguardSwitch learns nothing from data, from half a handshake or from a stranger", () => {
  const { table: t, a, route } = table();
  const data = indexedMessage(4, 0, 9);
  t.learn(a, data, 0, data.length);
  const cut = indexedMessage(1, 10).subarray(0, 147);
  t.learn(a, cut, 0, cut.length);
  const stranger = indexedMessage(1, 11);
  t.learn(new SwitchPort("c", KEY_B, UPLINK_A), stranger, 0, stranger.length);
  for (const index of [9, 10, 11]) {
    assert.equal(route(indexedMessage(4, 0, index), UPLINK_A), undefined);
  }
});

Deno.test("WireguardSwitch leaves an index with the guest that had it first", () => {
  const { table: t, a, b, route } = table();
  b.uplink = UPLINK_A;
  const bytes = indexedMessage(1, 5);
  t.learn(a, bytes, 0, bytes.length);
  t.learn(b, bytes, 0, bytes.length);
  assert.equal(route(indexedMessage(4, 0, 5), UPLINK_A), "a");
  t.remove(b);
  assert.equal(route(indexedMessage(4, 0, 5), UPLINK_A), "a");
});

Deno.test("WireguardSwitch keeps the last indices of a guest, and always the one in use", () => {
  const { table: t, a, route } = table();
  const learn = (index: number): void => {
    const bytes = indexedMessage(1, index);
    t.learn(a, bytes, 0, bytes.length);
  };
  learn(1);
  assert.equal(route(indexedMessage(4, 0, 1), UPLINK_A), "a");
  for (let i = 100; i < 300; i++) learn(i);
  assert.equal(route(indexedMessage(4, 0, 1), UPLINK_A), "a");
  assert.equal(route(indexedMessage(4, 0, 299), UPLINK_A), "a");
  assert.equal(route(indexedMessage(4, 0, 299 - RECENT + 2), UPLINK_A), "a");
  assert.equal(route(indexedMessage(4, 0, 299 - RECENT), UPLINK_A), undefined);
});

Deno.test("WireguardSwitch never throws on any bytes", () => {
  const { table: t, a } = table();
  fc.assert(fc.property(fc.uint8Array({ maxLength: 160 }), fc.nat(4), (bytes, type) => {
    if (bytes.length > 0) bytes[0] = type;
    t.learn(a, bytes, 0, bytes.length);
    t.route(bytes, 0, bytes.length, UPLINK_A.sockaddr, 0);
  }));
});
