import assert from "node:assert/strict";
import { endpoint } from "../../tests/doubles/endpoints.ts";
import { indexedMessage, initiationFor } from "../../tests/doubles/wireguard_messages.ts";
import { MemoryDatagramSink } from "../../tests/doubles/memory_sink.ts";
import type { Endpoint } from "../os/endpoint.ts";
import { Relay, type SwitchOwner } from "./relay.ts";
import { WireguardSwitch } from "./wireguard_switch.ts";

const KEY = new Uint8Array(32).fill(1);

const CLIENT = endpoint("127.0.0.1", 21_821);
const UPLINK = endpoint("192.0.2.1", 51_820);
const STRANGER = endpoint("192.0.2.1", 51_821);

function made(capacity = 16): {
  relay: Relay;
  out: MemoryDatagramSink;
  route: (bytes: Uint8Array, from: Endpoint) => SwitchOwner | undefined;
} {
  const out = new MemoryDatagramSink({ capacity });
  const table = new WireguardSwitch<SwitchOwner>();
  const relay = new Relay({
    ...{ id: "vm/client", client: CLIENT, publicKey: KEY, uplink: UPLINK, out, table },
  });
  const route = (bytes: Uint8Array, from: Endpoint): SwitchOwner | undefined =>
    table.route(bytes, 0, bytes.length, from.sockaddr, 0);
  return { relay, out, route };
}

Deno.test("W5: Relay hands the client's messages to its uplink, and the answers back", () => {
  const { relay, out, route } = made();
  const initiation = indexedMessage(1, 77);
  relay.fromClient(initiation, 0, initiation.length);
  const response = indexedMessage(2, 88, 77);
  assert.equal(route(response, UPLINK), relay);
  relay.fromUplink(response, 0, response.length);
  assert.deepEqual(out.take(), [
    { payload: initiation, to: UPLINK },
    { payload: response, to: CLIENT },
  ]);
  const { bytesToUplink, bytesToClient } = relay.stats();
  assert.deepEqual([bytesToUplink, bytesToClient], [148, 92]);
});

Deno.test("W5: Relay gets what its peer begins, and nothing that is another's", () => {
  const { relay, route } = made();
  assert.equal(route(initiationFor(KEY), UPLINK), relay);
  assert.equal(route(initiationFor(new Uint8Array(32).fill(2)), UPLINK), undefined);
  assert.equal(route(initiationFor(KEY), STRANGER), undefined);
  assert.equal(route(indexedMessage(4, 0, 77), UPLINK), undefined);
});

Deno.test("W5: Relay knows its client by address and port", () => {
  const { relay } = made();
  assert.equal(relay.isClient(CLIENT.sockaddr, 0), true);
  assert.equal(relay.isClient(endpoint("127.0.0.1", 21_822).sockaddr, 0), false);
  assert.equal(relay.isClient(endpoint("127.0.0.2", 21_821).sockaddr, 0), false);
});

Deno.test("W5: Relay counts only what there was room for", () => {
  const { relay, out } = made(1);
  for (let i = 0; i < 3; i++) relay.fromClient(indexedMessage(4, 0, 5), 0, 96);
  assert.equal(out.take().length, 1);
  assert.equal(relay.stats().bytesToUplink, 96);
});

Deno.test("W6: Relay that was taken away is in the switch no more", () => {
  const { relay, route } = made();
  relay.fromClient(indexedMessage(1, 77), 0, 148);
  relay[Symbol.dispose]();
  assert.equal(route(indexedMessage(2, 88, 77), UPLINK), undefined);
  assert.equal(route(initiationFor(KEY), UPLINK), undefined);
});
