import assert from "node:assert/strict";
import fc from "fast-check";
import type { TcpConnection } from "../tcp/connection.ts";
import { talk } from "./conversation_fixture.ts";
import { MAX_HELD, Socks5Conversation } from "./socks5.ts";
import type { OpenFault } from "./splice.ts";

const CREDENTIALS = { user: "ann", password: "s3cret" };

function hex(text: string): Uint8Array {
  return Uint8Array.fromHex(text.replaceAll(" ", ""));
}

function bytesOf(text: string): number[] {
  return Array.from(new TextEncoder().encode(text));
}

Deno.test("G5: Socks5Conversation dials an address and a name, and keeps what follows", () => {
  // VER, methods; VER CMD RSV ATYP, 10.0.0.2, port 80; the client's own bytes
  const address = talk(
    new Socks5Conversation(undefined),
    hex("050100 05010001 0a000002 0050 6869"),
  );
  assert.deepEqual(address.said, [5, 0]);
  assert.deepEqual(address.outcome, {
    kind: "dial",
    host: "10.0.0.2",
    port: 80,
    rest: [0x68, 0x69],
  });
  const name = talk(
    new Socks5Conversation(undefined),
    Uint8Array.from([5, 2, 1, 0, 5, 1, 0, 3, 8, ...bytesOf("v.omerta"), 1, 0xbb]),
  );
  assert.deepEqual(name.said, [5, 0]);
  assert.deepEqual(name.outcome, { kind: "dial", host: "v.omerta", port: 443, rest: [] });
});

Deno.test("G5: Socks5Conversation asks for user and password when there are any (RFC 1929)", () => {
  const greeting = [5, 2, 0, 2];
  const request = [5, 1, 0, 1, 10, 0, 0, 2, 0, 80];
  const login = (user: string, password: string): number[] => {
    const [u, p] = [bytesOf(user), bytesOf(password)];
    return [1, u.length, ...u, p.length, ...p];
  };
  const run = (message: number[]): ReturnType<typeof talk> =>
    talk(
      new Socks5Conversation(CREDENTIALS),
      Uint8Array.from([...greeting, ...message, ...request]),
    );
  const good = run(login("ann", "s3cret"));
  assert.deepEqual(good.said, [5, 2, 1, 0]);
  assert.equal(good.outcome.kind, "dial");
  for (
    const [user, password] of [
      ["ann", "s3cre"],
      ["ann", "s3cret0"],
      ["ann", "S3cret"],
      ["anna", "s3cret"],
      ["", ""],
      ["s3cret", "ann"],
    ] as const
  ) {
    const bad = run(login(user, password));
    assert.deepEqual(bad.said, [5, 2, 1, 1], `${user}:${password}`);
    assert.equal(bad.outcome.kind, "refused");
  }
  // A client that offers no password gets no further.
  const none = talk(new Socks5Conversation(CREDENTIALS), Uint8Array.from([5, 1, 0, ...request]));
  assert.deepEqual([none.said, none.outcome], [[5, 0xff], { kind: "refused" }]);
  // One that offers nothing else is not asked for one that is not wanted.
  const only = talk(new Socks5Conversation(undefined), Uint8Array.from([5, 1, 2, ...request]));
  assert.deepEqual([only.said, only.outcome], [[5, 0xff], { kind: "refused" }]);
});

Deno.test("G5: Socks5Conversation refuses what it does not do by the code for it", () => {
  const run = (request: string): number[] =>
    talk(new Socks5Conversation(undefined), hex(`050100 ${request}`)).said.slice(2);
  const reply = (code: number): number[] => [5, code, 0, 1, 0, 0, 0, 0, 0, 0];
  // BIND, UDP ASSOCIATE, a command that does not exist
  for (const command of ["02", "03", "09"]) {
    assert.deepEqual(run(`05 ${command} 00 01 0a000002 0050`), reply(7));
  }
  // IPv6, address types that do not exist
  assert.deepEqual(run(`05 01 00 04 ${"00".repeat(15)}01 0050`), reply(8));
  assert.deepEqual(run("05 01 00 02 0a"), reply(8));
  assert.deepEqual(run("05 01 00 00 0a"), reply(8));
  // A name that is empty, or no name
  assert.deepEqual(run("05 01 00 03 00 0050"), reply(4));
  assert.deepEqual(run("05 01 00 03 02 610a 0050"), reply(4));
  assert.deepEqual(run("05 01 00 03 02 61ff 0050"), reply(4));
  // Another version, in the request and in the beginning: SOCKS4 and HTTP
  assert.deepEqual(run("04 01 00 01 0a000002 0050"), reply(1));
  for (const first of ["04 01 0050 0a000002 00", "474554202f"]) {
    const { said, outcome } = talk(new Socks5Conversation(undefined), hex(first));
    assert.deepEqual([said, outcome.kind], [[], "refused"]);
  }
  // No methods at all
  assert.deepEqual(talk(new Socks5Conversation(undefined), hex("0500")).said, [5, 0xff]);
});

Deno.test("G5: Socks5Conversation tells how the dialling went", () => {
  const conversation = new Socks5Conversation(undefined);
  const codes: Record<OpenFault, number> = {
    "unknown-host": 4,
    "no-port": 1,
    "in-use": 1,
    "too-many-connections": 1,
    refused: 5,
    reset: 5,
    unreachable: 4,
    timeout: 6,
    aborted: 1,
  };
  for (const [fault, code] of Object.entries(codes)) {
    const bytes = conversation.failed(fault as OpenFault);
    assert.deepEqual(Array.from(bytes), [5, code, 0, 1, 0, 0, 0, 0, 0, 0]);
  }
  const connection = { localAddress: 0x0a000001, localPort: 50000 } as TcpConnection;
  assert.equal(conversation.opened(connection).toHex(), "050000010a000001c350");
});

const piecesOf = fc.array(fc.integer({ min: 1, max: 40 }), { minLength: 1, maxLength: 30 });

Deno.test("G5: Socks5Conversation gives back every host and port, however it is cut up", () => {
  const name = fc.array(fc.integer({ min: 0x21, max: 0x7e }), { minLength: 1, maxLength: 255 });
  const secret = fc.uint8Array({ minLength: 1, maxLength: 60 });
  fc.assert(
    fc.property(
      name,
      fc.integer({ min: 0, max: 65535 }),
      fc.uint8Array({ maxLength: 400 }),
      piecesOf,
      fc.option(secret),
      (host, port, rest, sizes, password) => {
        // Only text can be a password.
        const text = password === null ? undefined : new TextDecoder().decode(password);
        const secretBytes = text === undefined ? [] : bytesOf(text);
        if (secretBytes.length > 255) return;
        const credentials = text === undefined ? undefined : { user: text, password: text };
        const login = text === undefined
          ? [5, 1, 0]
          : [5, 1, 2, 1, secretBytes.length, ...secretBytes, secretBytes.length, ...secretBytes];
        const bytes = Uint8Array.from([
          ...login,
          ...[5, 1, 0, 3, host.length, ...host, port >>> 8, port & 255],
          ...rest,
        ]);
        const { outcome, unread } = talk(new Socks5Conversation(credentials), bytes, sizes);
        assert.equal(outcome.kind, "dial");
        if (outcome.kind !== "dial") return;
        assert.deepEqual([outcome.host, outcome.port], [String.fromCharCode(...host), port]);
        assert.deepEqual([...outcome.rest, ...unread], Array.from(rest));
      },
    ),
  );
});

Deno.test("G5: Socks5Conversation never throws, holds little, and does not care how bytes are cut up", () => {
  const likely = fc.oneof(
    fc.uint8Array({ maxLength: 2000 }),
    // Nearly right: the beginning of a conversation, then anything.
    fc.tuple(
      fc.constantFrom("050100", "05020002", "05010005010003", "05010005010001"),
      fc.uint8Array({ maxLength: 1500 }),
    ).map(([start, rest]) => Uint8Array.from([...Uint8Array.fromHex(start), ...rest])),
  );
  fc.assert(
    fc.property(likely, piecesOf, fc.boolean(), (bytes, sizes, locked) => {
      const make = (): Socks5Conversation =>
        new Socks5Conversation(locked ? CREDENTIALS : undefined);
      const whole = talk(make(), bytes);
      const cut = talk(make(), bytes, sizes);
      assert.deepEqual(cut.said, whole.said);
      assert.equal(cut.outcome.kind, whole.outcome.kind);
      if (whole.outcome.kind !== "dial" || cut.outcome.kind !== "dial") return;
      assert.ok(whole.outcome.rest.length <= MAX_HELD);
      assert.deepEqual(
        [cut.outcome.host, cut.outcome.port, ...cut.outcome.rest, ...cut.unread],
        [whole.outcome.host, whole.outcome.port, ...whole.outcome.rest, ...whole.unread],
      );
    }),
    { numRuns: Number(Deno.env.get("OMERTA_FUZZ_SOCKS") ?? 2000) },
  );
});
