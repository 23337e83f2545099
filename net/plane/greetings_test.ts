import assert from "node:assert/strict";
import type { TcpHandler } from "../tcp/connection.ts";
import { UserspaceInterface } from "../vlan/userspace_interface.ts";
import { Wire } from "../vlan/wire_fixture.ts";
import { Greetings } from "./greetings.ts";

const TO = 0x0a000002;

/** Somebody who wants greetings, and a server. */
class Scene {
  readonly link = new UserspaceInterface({ address: "10.0.0.1", mtu: 1400, now: 0 });
  readonly server = new UserspaceInterface({ address: "10.0.0.2", mtu: 1400, now: 0 });
  readonly wire = new Wire(this.link, this.server);
  readonly greetings = new Greetings(this.link);
  readonly lines: (string | undefined)[] = [];

  read(timeoutMs = 60_000): void {
    const endsAt = this.wire.now + timeoutMs;
    const greeter = { host: "web", address: TO, port: 22, endsAt };
    this.greetings.read(greeter, (line) => this.lines.push(line));
  }

  /** What the server says to those who connect; nobody listens without. */
  serve(onOpen: NonNullable<TcpHandler["onOpen"]>): void {
    this.server.stack.listen({ port: 22, onSyn: (pending) => void pending.accept({ onOpen }) });
  }
}

function bytes(text: string): Uint8Array {
  return new TextEncoder().encode(text);
}

Deno.test("read() gives the first line, in whatever pieces it comes", () => {
  for (const pieces of [["SSH-2.0-x\r\nmore"], ["SSH-", "2.0-x", "\r\n"]]) {
    const scene = new Scene();
    scene.serve((connection) => {
      for (const piece of pieces) connection.write(bytes(piece));
    });
    scene.read();
    scene.wire.settle();
    assert.deepEqual(scene.lines, ["SSH-2.0-x"]);
  }
});

Deno.test("read() gives nothing when refused, ended, too long or too late", () => {
  const refused = new Scene();
  refused.read();
  refused.wire.settle();
  assert.deepEqual(refused.lines, [undefined]);
  for (const text of ["", "x".repeat(300)]) {
    const scene = new Scene();
    scene.serve((connection) => {
      connection.write(bytes(text));
      connection.end();
    });
    scene.read();
    scene.wire.settle();
    assert.deepEqual(scene.lines, [undefined]);
  }
  const late = new Scene();
  late.serve(() => {});
  late.read(5000);
  late.wire.settle();
  assert.equal(late.greetings.tick(late.wire.now), 6000);
  assert.deepEqual(late.lines, []);
  assert.equal(late.greetings.tick(6000), Infinity);
  assert.deepEqual(late.lines, [undefined]);
  late.wire.settle();
  assert.equal(late.link.stack.use.connections, 0);
});

Deno.test("read() refuses one more than 64 at a time, and when there is no stack", () => {
  const scene = new Scene();
  for (let i = 0; i < 64; i++) scene.read();
  assert.throws(() => scene.read(), { code: "greeting-failed", message: /too many wait/ });
  scene.link.stop();
  assert.deepEqual(scene.lines, new Array(64).fill(undefined));
  assert.throws(() => scene.read(), { code: "greeting-failed", message: /there is no stack/ });
});
