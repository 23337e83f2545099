import assert from "node:assert/strict";
import {
  BORROWER,
  LENDER,
  shareLink,
  type TwoMachines,
  twoMachines,
} from "../support/two_machines.ts";
import { newBpfObjects } from "../kernel/bpf_objects.ts";
import { netlabMissing } from "../netlab/netlab.ts";
import { bpfMissing } from "../support/bpf.ts";
import { PING } from "../support/ping.ts";
import { commandMissing, testIf } from "../support/requires.ts";
import { until } from "../support/until.ts";

const missing = netlabMissing ?? bpfMissing ??
  commandMissing("qemu-system-x86_64", "qemu-img", "ssh", "ping");

/** Time for a translated guest on a busy host, in ms; an accelerated one takes a tenth. */
const READY_MS = 280_000;
/** A host of the lender's LAN: the router. */
const NEIGHBOR = "192.168.1.1";
/** Where the borrower moves to. */
const MOVED = "192.168.2.8";

const REQUEST = ["vm", "request", "--provider", LENDER, "--cpu", "2", "--mode", "ebpf"] as const;

/** What `status --json` tells about a cable. */
interface Cable {
  readonly fromGuest: number;
  readonly toGuest: number;
  readonly refused: Record<string, number>;
}

async function cableOf({ lender }: TwoMachines): Promise<Cable> {
  const status: { cables: Cable[] } = JSON.parse(await lender.ok("status", "--json"));
  assert.ok(status.cables[0]);
  return status.cables[0];
}

/** The guests' interfaces of the lender's machine. */
async function taps({ lenderMachine }: TwoMachines): Promise<string[]> {
  const { stdout } = await lenderMachine.runChecked("ip", ["-o", "link"]);
  return [...stdout.matchAll(/^\d+: (om-[0-9a-f]+)/gm)].map((match) => match[1] ?? "");
}

testIf(missing, "N14, N8: a guest whose packets the kernel filters", async (t) => {
  const left = newBpfObjects("omerta_");
  await using world = await twoMachines();
  const { lender, borrower, lenderMachine, borrowerMachine } = world;
  await lender.shareImages();
  await lender.startDaemon();
  await shareLink(world);
  const ssh = async (command: string): Promise<string> => {
    const result = await borrower.run(["ssh", "kern", command], { timeoutMs: 120_000 });
    assert.equal(result.code, 0, result.stderr);
    return result.stdout;
  };

  await t.step("N14: it comes up and is reached", async () => {
    const result = await borrower.run([...REQUEST, "--name", "kern"], { timeoutMs: READY_MS });
    assert.equal(result.code, 0, result.stderr + await lender.logs());
    assert.match(await ssh("uname -a"), /^Linux kern /);
    await borrowerMachine.runChecked("ping", [...PING, "10.0.0.2"]);
    for (const home of [lender, borrower]) {
      assert.match(await home.ok("vm", "list"), /kern .* ebpf .*ready/);
      assert.match(await home.ok("status"), /kern .*mode ebpf/);
    }
    const cable = await cableOf(world);
    assert.ok(cable.fromGuest > 1000 && cable.toGuest > 1000, JSON.stringify(cable));
    assert.equal((await taps(world)).length, 1);
    assert.equal(left().length, 6, "2 programs and 4 maps");
  });

  await t.step(
    "N14: without its own firewall it reaches its borrower and nobody else",
    async () => {
      // The controls: both are there, for those who are on their network.
      await lenderMachine.runChecked("ping", [...PING, NEIGHBOR]);
      const before = await cableOf(world);
      const attempts = [
        "sudo nft flush ruleset",
        "dev=$(ip -br -4 addr | awk '/192.168.100.2/{print $1}')",
        `for to in ${NEIGHBOR} ${LENDER} ${BORROWER}; do sudo ip route add $to via 192.168.100.1`,
        "ping -c 1 -W 1 $to >/dev/null && echo reached $to",
        `timeout 2 bash -c "echo x >/dev/tcp/$to/22" 2>/dev/null && echo connected $to`,
        "done",
        "ping -c 1 -W 1 192.168.100.1 >/dev/null && echo reached the gateway",
        "bash -c 'echo x >/dev/udp/192.168.100.1/53' 2>/dev/null",
        "sudo sysctl -qw net.ipv6.conf.$dev.disable_ipv6=0",
        "ping -c 1 -W 1 ff02::2%$dev >/dev/null 2>&1 && echo reached by IPv6",
        `ping ${PING.join(" ")} 10.0.0.1 >/dev/null && echo the borrower`,
      ];
      assert.equal(
        await ssh(`${attempts.join("; ").replaceAll("do;", "do")}; true`),
        "the borrower\n",
      );
      const { refused } = await cableOf(world);
      for (const reason of ["destination", "protocol", "port"]) {
        const grown = (refused[reason] ?? 0) - (before.refused[reason] ?? 0);
        assert.ok(grown > 0, `${reason}: ${JSON.stringify(refused)}`);
      }
      await until(
        async () => /guest-refused.*destination/.test(await lender.ok("vm", "logs", "kern")),
        {
          timeoutMs: 20_000,
          what: "the refusals to be told",
        },
      );
      assert.match(
        await lender.ok("vm", "logs", "kern"),
        /(?:ICMP|TCP) 192\.168\.100\.2\S* > 192\.168\.[12]\.\d/,
      );
    },
  );

  await t.step("N14: it follows a borrower who comes back at another address", async () => {
    await borrower.ok("daemon", "stop");
    await borrowerMachine.addAddress("eth0", `${MOVED}/24`);
    await borrowerMachine.deleteAddress("eth0", `${BORROWER}/24`);
    await borrowerMachine.addAddress("eth0", `${MOVED}/24`).catch(() => {}); // it may have gone along
    await borrowerMachine.route("replace", "default", "via", "192.168.2.1");
    await borrower.startDaemon();
    const ping = ["-c", "1", "-W", "2", "10.0.0.2"];
    await until(async () => (await borrowerMachine.run("ping", ping)).code === 0, {
      timeoutMs: 60_000,
      what: "the tunnel to be back",
    });
    assert.match(await lender.ok("status"), new RegExp(`kern .* at ${MOVED}:`));
    assert.match(await ssh("uname -a"), /^Linux kern /);
  });

  await t.step("N8: when it is given back nothing is left", async () => {
    await borrower.ok("vm", "release", "kern");
    await until(() => left().length === 0, { what: "programs and maps to be gone" });
    assert.deepEqual(await taps(world), []);
    assert.deepEqual((await lender.processes()).filter((line) => line.includes("qemu")), []);
    const { stdout } = await lenderMachine.runChecked("tc", ["qdisc", "show"]);
    assert.doesNotMatch(stdout, /clsact/);
  });

  await t.step("N8: a daemon that was killed leaves nothing once it is started again", async () => {
    // It need not come up: its TAP and filter are there as soon as QEMU is.
    const asked = borrower.spawn([...REQUEST, "--name", "second"], {
      ...{ stdout: "null", stderr: "null" },
    });
    try {
      await until(async () => (await taps(world)).length === 1 && left().length === 6, {
        timeoutMs: 30_000,
        what: "the second guest to be guarded",
      });
      await lender.stopDaemon("SIGKILL");
      // The program at the uplink goes with the daemon; the one at the TAP stays, with its maps.
      await until(() => left().length === 5, { what: "the daemon's program to be gone" });
      const [tap = ""] = await taps(world);
      const { stdout } = await lenderMachine.runChecked("tc", [
        "filter",
        "show",
        "dev",
        tap,
        "ingress",
      ]);
      assert.match(stdout, /omerta guest direct-action/);
      await lender.startDaemon();
      await until(() => left().length === 0, { what: "programs and maps to be gone" });
      assert.deepEqual(await taps(world), []);
      assert.deepEqual((await lender.processes()).filter((line) => line.includes("qemu")), []);
    } finally {
      asked.kill("SIGTERM");
      await asked.status;
    }
  });
});
