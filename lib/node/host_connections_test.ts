import assert from "node:assert/strict";
import fc from "fast-check";
import { commandMissing, testIf } from "../../tests/support/requires.ts";
import { hostConnections, MAX_CONNECTIONS, readConnections } from "./host_connections.ts";

const QEMU = 'users:(("qemu-system-x86",pid=4711,fd=21))';
const SS = `
tcp   ESTAB    0      0        192.168.1.100:40312   203.0.113.7:80    ${QEMU}
tcp   SYN-SENT 0      1        192.168.1.100:40313   203.0.113.8:443   ${QEMU}
udp   UNCONN   0      0              0.0.0.0:45001       0.0.0.0:*     ${QEMU}
tcp   ESTAB    0      0        192.168.1.100:22      192.168.1.5:5000  users:(("sshd",pid=47,fd=4))
tcp   LISTEN   0      128            0.0.0.0:22          0.0.0.0:*
u_str ESTAB    0      0                    * 1                 * 2     ${QEMU}
tcp   ESTAB    0      0           [2001:db8::1]:5 [2001:db8::2]:6 users:(("a b",pid=9,fd=3),("q",pid=4711,fd=5))
`;

Deno.test("N12: readConnections() takes the sockets of one process out of what ss prints", () => {
  assert.deepEqual(readConnections(SS, 4711), [
    { protocol: "tcp", state: "ESTAB", local: "192.168.1.100:40312", peer: "203.0.113.7:80" },
    { protocol: "tcp", state: "SYN-SENT", local: "192.168.1.100:40313", peer: "203.0.113.8:443" },
    { protocol: "udp", state: "UNCONN", local: "0.0.0.0:45001", peer: "*:*" },
    { protocol: "tcp", state: "ESTAB", local: "[2001:db8::1]:5", peer: "[2001:db8::2]:6" },
  ]);
  assert.equal(readConnections(SS, 47).length, 1, "47 is not the beginning of 4711");
  assert.deepEqual(readConnections(SS, 471), []);
});

Deno.test("N12: readConnections() keeps the first of very many", () => {
  const line = `tcp ESTAB 0 0 192.168.1.100:1 203.0.113.7:80 ${QEMU}\n`;
  assert.equal(readConnections(line.repeat(MAX_CONNECTIONS + 5), 4711).length, MAX_CONNECTIONS);
});

Deno.test("N12: readConnections() never throws on any text", () => {
  fc.assert(fc.property(fc.string(), (text) => {
    readConnections(text, 1);
    readConnections(`tcp ${text} ,pid=1,`, 1);
  }));
});

testIf(
  commandMissing("ss"),
  "N12: hostConnections() finds a connection of this process",
  async () => {
    using listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
    using here = await Deno.connect({ hostname: "127.0.0.1", port: listener.addr.port });
    using _there = await listener.accept();
    const { hostname, port } = here.localAddr as Deno.NetAddr;
    const found = (await hostConnections(Deno.pid)).find(({ local }) =>
      local === `${hostname}:${port}`
    );
    assert.deepEqual(found, {
      ...{ protocol: "tcp", state: "ESTAB", local: `127.0.0.1:${port}` },
      peer: `127.0.0.1:${listener.addr.port}`,
    });
  },
);

Deno.test("N12: hostConnections() without ss says how to get it, with exit code 3", async () => {
  await assert.rejects(hostConnections(1, "no-such-ss"), {
    ...{ code: "ss-missing", exit: 3 },
    ...(Deno.build.os === "linux" ? { next: "Run: sudo apt install iproute2" } : {}),
  });
});
