/**
 * A TUN interface on a device of the test's own. tests/interop/tcp_kernel_test.ts has the same with the
 * kernel's, wired to a userspace one.
 *
 * @module
 */

import assert from "node:assert/strict";
import { MemoryPacketSink } from "../../tests/doubles/memory_sink.ts";
import { SocketCounters } from "../os/packet_socket.ts";
import type { PacketSink } from "../os/sink.ts";
import type { TunDevice, TunOptions } from "../os/tun_device.ts";
import { InterfaceRunner } from "./interface_runner.ts";
import { PacketQueue } from "./packet_queue.ts";
import { TunInterface } from "./tun_interface.ts";

const PACKET = new Uint8Array(40).fill(0x45);

/** A device whose kernel is the test. */
class FakeTun implements TunDevice {
  readonly name: string;
  readonly fd = 99;
  readonly waiting = 0;
  readonly out = new MemoryPacketSink();
  readonly counters = new SocketCounters();
  readonly sent = new PacketQueue();
  onReadable: (() => void) | undefined;
  isThere = true;
  closed = 0;

  constructor({ name }: TunOptions) {
    this.name = name;
  }

  drainInto(sink: PacketSink, limit: number): number {
    return this.isThere ? this.sent.drainInto(sink, limit) : -1;
  }

  [Symbol.dispose](): void {
    this.closed++;
  }
}

function open(address = "10.0.0.1/16", mtu = 1400): [TunInterface, FakeTun] {
  const devices: FakeTun[] = [];
  const link = new TunInterface({ name: "omerta0", address, mtu }, (options) => {
    assert.deepEqual(options, { name: "omerta0", address, mtu });
    const device = new FakeTun(options);
    devices.push(device);
    return device;
  });
  const [device] = devices;
  assert.ok(device);
  return [link, device];
}

Deno.test("L3: drain() hands on what the kernel sends, until somebody removes the interface", () => {
  const [link, device] = open();
  assert.deepEqual([link.name, link.address, link.mtu], ["omerta0", 0x0a000001, 1400]);
  const out = new PacketQueue();
  device.sent.put(PACKET);
  assert.ok(link.drain());
  link.start(out);
  assert.ok(link.drain());
  assert.deepEqual(out.take(), PACKET);
  assert.equal(link.tick(0), Infinity);
  assert.equal(link.dialTcp(), undefined);
  device.isThere = false;
  assert.equal(link.drain(), false);
});

Deno.test("L3: the kernel receives what is written to a TUN interface", () => {
  const [link, device] = open();
  link.begin(0);
  const at = link.inbound.reserve(PACKET.length);
  link.inbound.buffer.set(PACKET, at);
  link.inbound.commit(PACKET.length);
  link.inbound.flush();
  assert.deepEqual(device.out.take(), [PACKET]);
  assert.equal(device.out.flushes, 1);
});

Deno.test("stop() closes the device once", () => {
  const [link, device] = open();
  {
    using owned = link;
    assert.equal(owned.source.fd, 99);
    owned.stop();
  }
  assert.equal(device.closed, 1);
});

Deno.test("TunInterface wants an address with a prefix length and an MTU, before it makes a device", () => {
  for (const address of ["10.0.0.1", "10.0.0.1/33", "web/16"]) {
    assert.throws(() => open(address), { code: "bad-address" });
  }
  assert.throws(() => open("10.0.0.1/16", 100), { code: "bad-mtu" });
});

Deno.test("InterfaceRunner refuses what is read through a descriptor", () => {
  const [link, device] = open();
  assert.throws(() => new InterfaceRunner(link, () => {}), { code: "interface-needs-reactor" });
  assert.equal(device.closed, 0);
});
