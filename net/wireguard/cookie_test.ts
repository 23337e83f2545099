import assert from "node:assert/strict";
import fc from "fast-check";
import { endpoint, pseudoRandom } from "../../tests/doubles/wireguard_pair.ts";
import { COOKIE_MS } from "./constants.ts";
import { CookieIssuer, CookieJar } from "./cookie.ts";
import { mac1At, Mac1Check, mac2At } from "./mac1.ts";
import { INITIATION, INITIATION_LEN, RESPONSE, RESPONSE_LEN } from "./messages.ts";

const RESPONDER = new Uint8Array(32).fill(0x44);
const A = endpoint("192.0.2.1:1000").sockaddr;

function message(type = INITIATION): Uint8Array {
  const bytes = new Uint8Array(type === INITIATION ? INITIATION_LEN : RESPONSE_LEN).fill(0x5a);
  bytes.set([type, 0, 0, 0]);
  bytes.fill(0, mac1At(bytes.length));
  return bytes;
}

function both(): { issuer: CookieIssuer; jar: CookieJar } {
  return { issuer: new CookieIssuer(RESPONDER, pseudoRandom(5)), jar: new CookieJar(RESPONDER) };
}

Deno.test("W1: Mac1Check matches handshake messages made for its key and nothing else", () => {
  const check = new Mac1Check(RESPONDER);
  for (const type of [INITIATION, RESPONSE]) {
    const sent = message(type);
    new CookieJar(RESPONDER).addMacs(sent, 0);
    const buffer = new Uint8Array(300).fill(0xa5);
    buffer.set(sent, 9);
    assert.ok(check.matches(buffer, 9, sent.length));
    assert.ok(!check.matches(buffer, 9, sent.length - 1));
    assert.ok(!check.matches(buffer, 8, sent.length));
    assert.ok(!new Mac1Check(new Uint8Array(32)).matches(buffer, 9, sent.length));
    for (let i = 0; i < mac2At(sent.length); i++) {
      const changed = sent.slice();
      changed[i] = (changed[i] ?? 0) ^ 0x80;
      assert.ok(!check.matches(changed, 0, changed.length), `byte ${i}`);
    }
  }
});

Deno.test("Mac1Check never throws on any bytes", () => {
  const check = new Mac1Check(RESPONDER);
  fc.assert(fc.property(fc.uint8Array({ maxLength: 200 }), fc.nat(250), fc.nat(250), (b, at, n) => {
    assert.equal(check.matches(b, at, n), false);
  }));
});

Deno.test("W1: a cookie proves the address it was given to", () => {
  const { issuer, jar } = both();
  const first = message();
  jar.addMacs(first, 0);
  assert.ok(first.subarray(mac2At(first.length)).every((b) => b === 0));
  assert.ok(!issuer.hasProof(first, A, 0, 0));
  assert.ok(jar.consumeReply(issuer.reply(first, A, 0, 0), 0));
  const second = message();
  jar.addMacs(second, 1);
  assert.ok(issuer.hasProof(second, A, 0, 1));
  assert.ok(!issuer.hasProof(second, endpoint("192.0.2.1:1001").sockaddr, 0, 1), "other port");
  assert.ok(!issuer.hasProof(second, endpoint("192.0.2.2:1000").sockaddr, 0, 1), "other address");
  const changed = second.slice();
  changed[20] = 0;
  assert.ok(!issuer.hasProof(changed, A, 0, 1), "other message");
});

Deno.test("W1: a cookie holds for two minutes, on both sides", () => {
  const { issuer, jar } = both();
  const first = message();
  jar.addMacs(first, 0);
  assert.ok(jar.consumeReply(issuer.reply(first, A, 0, 0), 0));
  const last = message();
  jar.addMacs(last, COOKIE_MS - 1);
  assert.ok(issuer.hasProof(last, A, 0, COOKIE_MS - 1));
  assert.ok(!issuer.hasProof(last, A, 0, COOKIE_MS));
  const late = message();
  jar.addMacs(late, COOKIE_MS);
  assert.ok(late.subarray(mac2At(late.length)).every((b) => b === 0));
});

Deno.test("CookieJar takes one reply to the message it sent last, and no forged one", () => {
  const { issuer, jar } = both();
  const first = message();
  const reply = issuer.reply(first, A, 0, 0);
  assert.ok(!jar.consumeReply(reply, 0), "nothing was sent");
  jar.addMacs(first, 0);
  assert.ok(!jar.consumeReply(reply, 0), "another mac1");
  const good = issuer.reply(first, A, 0, 0);
  for (let i = 8; i < good.length; i++) {
    const changed = good.slice();
    changed[i] = (changed[i] ?? 0) ^ 1;
    assert.ok(!jar.consumeReply(changed, 0), `byte ${i}`);
  }
  assert.ok(jar.consumeReply(good, 0));
  assert.ok(!jar.consumeReply(good, 0), "twice");
});

Deno.test("CookieIssuer changes its secret, and forgets it when wiped", () => {
  const { issuer, jar } = both();
  const first = message();
  jar.addMacs(first, 0);
  assert.ok(jar.consumeReply(issuer.reply(first, A, 0, 0), 0));
  const second = message();
  jar.addMacs(second, 1);
  issuer.reply(first, A, 0, COOKIE_MS);
  assert.ok(!issuer.hasProof(second, A, 0, COOKIE_MS), "new secret");
  issuer.wipe();
  assert.ok(!issuer.hasProof(second, A, 0, 1));
});
