import assert from "node:assert/strict";
import { testIf } from "../support/requires.ts";
import { until } from "../support/until.ts";
import { gatewayMissing, GatewayRig, NET } from "./_gateway_rig.ts";
import { runJobs } from "./_tcp_rig.ts";

const FIRST_PORT = 7000;

for (const mtu of [1400, 65520]) {
  testIf(
    gatewayMissing,
    `G1: a kernel's TCP reaches servers outside through the stack, MTU ${mtu}`,
    async () => {
      await using rig = await GatewayRig.start({ mtu });
      const { guest, net } = rig;
      const ports = Array.from({ length: 8 }, (_, i) => FIRST_PORT + i);
      const served = runJobs(net, ports.map((port) => ({ kind: "serve", host: NET, port })));
      await until(
        async () => (await net.run("ss", ["-ltnH"])).stdout.trim().split("\n").length === 8,
        { what: "servers to listen" },
      );
      const results = await runJobs(
        guest,
        ports.map((port) => ({ kind: "echo", host: NET, port, bytes: 3_000_000 })),
      );
      for (const { error, sent, read, sentHash, readHash } of results) {
        assert.deepEqual([error, sent, read], [undefined, 3_000_000, 3_000_000]);
        assert.equal(readHash, sentHash);
      }
      assert.ok((await served).every(({ error }) => error === undefined));
    },
  );
}

testIf(
  gatewayMissing,
  "G1: a kernel's TCP hears from outside that nobody listens, and that no way leads there",
  async () => {
    await using rig = await GatewayRig.start();
    const results = await runJobs(rig.guest, [
      { kind: "echo", host: NET, port: 9, bytes: 1 },
      { kind: "echo", host: "203.0.113.9", port: 9, bytes: 1 },
    ]);
    const [refused = "", unreachable = ""] = results.map(({ error }) => error);
    assert.match(refused, /ConnectionRefused/);
    assert.match(unreachable, /os error 113/);
  },
);
