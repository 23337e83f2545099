import assert from "node:assert/strict";
import { join } from "node:path";
import { netlabMissing } from "../netlab/netlab.ts";
import { PING } from "../support/ping.ts";
import { commandMissing, testIf } from "../support/requires.ts";
import { LENDER, shareLink, type TwoMachines, twoMachines } from "../support/two_machines.ts";
import { until } from "../support/until.ts";

const missing = netlabMissing ??
  commandMissing("qemu-system-x86_64", "qemu-img", "ssh", "ping", "tcpdump");

/** Time for two translated guests at once on a busy host, in ms. */
const READY_MS = 280_000;
/** A host of the lender's LAN: the router. */
const NEIGHBOR = "192.168.1.1";
/** Name of the guest's interface on the cable, in its shell. */
const CABLE = "$(ip -br -4 addr | awk '/192.168.100.2/{print $1}')";
/** A keepalive of the tunnel, in bytes. */
const KEEPALIVE = 32;

/** What `status --json` tells about a lender. */
interface Status {
  readonly lending: { readonly vms: { readonly id: string; readonly name: string }[] };
  readonly cables: {
    readonly id: string;
    readonly fromGuest: number;
    readonly toGuest: number;
    readonly refused: Record<string, number>;
  }[];
}

async function cableOf({ lender }: TwoMachines, name: string): Promise<Status["cables"][number]> {
  const { lending, cables }: Status = JSON.parse(await lender.ok("status", "--json"));
  const id = lending.vms.find((vm) => vm.name === name)?.id;
  const cable = cables.find((one) => one.id === id);
  assert.ok(cable, name);
  return cable;
}

async function alarmsOf({ lender }: TwoMachines, ...name: string[]): Promise<string[]> {
  const alarms: { name: string; kind: string }[] = JSON.parse(
    await lender.ok("vm", "alarms", ...name, "--json"),
  );
  return alarms.map((alarm) => `${alarm.name}: ${alarm.kind}`);
}

/** Plugs the borrower's machine into its network again, as it was. */
async function plugIn({ borrowerMachine }: TwoMachines): Promise<void> {
  await borrowerMachine.setLink("eth0", "up");
  await borrowerMachine.route("add", "default", "via", "192.168.2.1");
}

/** One datagram for each of these ports of a neighbor, past the guest's tunnel. */
const knock = (from: number, to: number): string =>
  `sudo ip route replace ${NEIGHBOR} via 192.168.100.1; ` +
  `bash -c 'for p in $(seq ${from} ${to}); do echo x >/dev/udp/${NEIGHBOR}/$p; done'; hostname`;

testIf(
  missing,
  "N12, N13: two guests without their firewall, one of them rogue, and a tunnel that is lost",
  async (t) => {
    await using world = await twoMachines();
    const { lender, borrower, lenderMachine, borrowerMachine } = world;
    await lender.shareImages();
    await lender.ok("lend", "set", "cpus", "4");
    await lender.startDaemon();
    await shareLink(world);
    const where = ["--provider", LENDER, "--cpu", "1"];
    const job = borrower.run(["run", ...where, "--name", "loud", "--", "sleep", "3000"], {
      timeoutMs: 600_000,
    });
    const request = await borrower.run(["vm", "request", ...where, "--name", "quiet"], {
      timeoutMs: READY_MS,
    });
    assert.equal(request.code, 0, request.stderr + await lender.logs());
    await until(async () => /loud .*ready/.test(await borrower.ok("vm", "list")), {
      timeoutMs: READY_MS,
      what: "the other guest",
    });
    // Without the second wall everything that a guest sends by itself comes to the first.
    for (const name of ["quiet", "loud"]) {
      await borrower.ok(
        "ssh",
        name,
        `sudo nft flush ruleset; dev=${CABLE}; sudo ip link set $dev down; ` +
          "sudo ip link set $dev up; sudo ip addr replace 192.168.100.2/24 dev $dev",
      );
    }
    const before = await cableOf(world, "quiet");

    await t.step("N12: a guest that scans raises an alarm", async () => {
      // The control: the neighbor is there for those who are on its network.
      await lenderMachine.runChecked("ping", [...PING, NEIGHBOR]);
      assert.deepEqual(await alarmsOf(world), []);
      assert.equal(await borrower.ok("ssh", "loud", knock(1001, 1030)), "loud\n");
      await until(async () => (await alarmsOf(world, "loud")).length > 0, { what: "the alarm" });
      assert.deepEqual(await alarmsOf(world), ["loud: scan"]);
      assert.match(await lender.ok("vm", "list"), /^loud .* scan$/m);
      assert.match(await lender.ok("vm", "list"), /^quiet .* none$/m);
      assert.match(
        await lender.ok("status"),
        /ALARM +loud \([0-9a-f]{16}\) of .*: scan, \d+ s ago/,
      );
      assert.match(
        await lender.ok("vm", "alarms", "loud"),
        /it tried 16 destinations that it may not reach\n.*UDP 192\.168\.100\.2:\d+ > 192\.168\.1\.1:\d+ len 2 \(destination\)\n/,
      );
      assert.match(await lender.ok("vm", "logs", "loud"), /vm-rogue .*kind=scan/);
    });

    await t.step("N12: a guest that takes a false MAC address raises another", async () => {
      const frame = "bytes.fromhex('020000006401020000009999' '88cc') + bytes(50)";
      const send = `import socket, sys; s = socket.socket(17, 3); s.bind((sys.argv[1], 0)); ` +
        `[s.send(${frame}) for _ in range(3)]`;
      await borrower.ok("ssh", "loud", `sudo python3 -c "${send}" ${CABLE}`);
      await until(async () => (await alarmsOf(world, "loud")).length > 1, { what: "the alarm" });
      assert.deepEqual(await alarmsOf(world), ["loud: scan", "loud: spoofing"]);
    });

    await t.step("N12: tcpdump reads its refused frames", async () => {
      const file = join(lender.path, "loud.pcap");
      const words = await lender.ok("vm", "refused", "loud", "--pcap", file);
      assert.match(words, /^destination +\d+$[^]*^source-mac +3$/m);
      assert.match(
        words,
        /Z {2}destination +UDP 192\.168\.100\.2:\d+ > 192\.168\.1\.1:1030 len 2$/m,
      );
      const { stdout, stderr } = await lenderMachine.runChecked("tcpdump", [
        ...["-nn", "-e", "-r", file],
      ]);
      for (const port of [1001, 1030]) {
        assert.match(
          stdout,
          new RegExp(
            `> 02:00:00:00:64:01, ethertype IPv4 .* 192\\.168\\.100\\.2\\.\\d+ > ` +
              `192\\.168\\.1\\.1\\.${port}: UDP, length 2$`,
            "m",
          ),
          stderr,
        );
      }
      assert.equal(stdout.match(/ 02:00:00:00:99:99 > /g)?.length, 3, stdout);
      const others = await lender.ok("vm", "refused", "quiet");
      assert.doesNotMatch(others, /192\.168\.1\.1|02:00:00:00:99:99/);
    });

    await t.step("N12: alarms that were looked at are cleared", async () => {
      assert.match(await lender.ok("vm", "alarms", "loud", "--clear"), /scan[^]*Cleared 2\n$/);
      assert.equal(await lender.ok("vm", "alarms"), "No alarm\n");
      assert.match(await lender.ok("vm", "list"), /^loud .* none$/m);
      assert.match(await lender.fails(2, "vm", "alarms", "nobody"), /Cannot find a lent VM/);
    });

    await t.step(
      "N12: a rogue guest is ended when the lender wants that, with reasons",
      async () => {
        const said = await lender.ok("lend", "set", "rogue-action", "end");
        assert.match(said, /rogue-action is end from now on, for VMs that run too/);
        const shell = borrower.spawn(["ssh", "loud", knock(1001, 1100)], {
          stdout: "null",
          stderr: "null",
        });
        // The job's own command says why it cannot go on.
        const { code, stderr } = await job;
        assert.equal((await shell.status).code, 5, "an open shell ends with its VM");
        const words = new RegExp(
          "it sent \\d+ forbidden frames within a minute, the last one UDP 192\\.168\\.100\\.2:\\d+ > " +
            `192\\.168\\.1\\.1:\\d+ len 2 \\(destination\\); this lender ends a VM for that`,
        );
        assert.equal(code, 5, stderr);
        assert.match(stderr, words);
        for (const home of [lender, borrower]) {
          assert.match(
            await home.ok("vm", "logs", "loud"),
            words,
          );
        }
        assert.deepEqual(await alarmsOf(world), ["loud: per-minute"]);
        assert.equal((await lender.vmFolders()).length, 1);
      },
    );

    await t.step("N12: a guest that minds its own business raised no alarm", async () => {
      await until(
        // Of either end: what the one sends puts off the keepalive of the other.
        async () => {
          const { fromGuest, toGuest } = await cableOf(world, "quiet");
          return fromGuest + toGuest >= before.fromGuest + before.toGuest + 2 * KEEPALIVE;
        },
        { timeoutMs: 60_000, what: "two keepalives" },
      );
      const { refused } = await cableOf(world, "quiet");
      assert.ok((refused["ipv6"] ?? 0) > 0, "its firewall is off");
      assert.deepEqual(await alarmsOf(world, "quiet"), []);
      assert.doesNotMatch(await lender.ok("vm", "logs", "quiet"), /vm-rogue/);
      assert.equal(await borrower.ok("ssh", "quiet", "hostname"), "quiet\n");
    });

    await t.step("N13: a tunnel that is lost for a short time ends no VM", async () => {
      await lender.ok("lend", "set", "tunnel-timeout", "60s");
      await borrowerMachine.setLink("eth0", "down");
      const cut = await cableOf(world, "quiet");
      await until(
        async () => (await cableOf(world, "quiet")).fromGuest >= cut.fromGuest + KEEPALIVE,
        { timeoutMs: 45_000, what: "the guest to talk to nobody" },
      );
      await plugIn(world);
      await until(
        async () => (await borrower.run(["ssh", "quiet", "hostname"])).stdout === "quiet\n",
        { timeoutMs: 60_000, what: "the tunnel to be back" },
      );
    });

    await t.step(
      "N13: one that stays lost does, and the borrower learns why when he is back",
      async () => {
        await lender.ok("lend", "set", "tunnel-timeout", "30s");
        // Both ends are gone: with one of them left, WireGuard keeps its session up to 180 s more.
        const down = "systemd-run --quiet sh -c 'sleep 1; wg-quick down wg0'";
        await borrower.ok("ssh", "quiet", `sudo ${down}`);
        await borrowerMachine.setLink("eth0", "down");
        await until(async () => (await lender.vmFolders()).length === 0, {
          timeoutMs: 90_000,
          what: "the VM to be ended",
        });
        assert.match(await lender.ok("vm", "logs", "quiet"), /its tunnel was lost for 30 s/);
        assert.deepEqual((await lender.processes()).filter((line) => line.includes("qemu")), []);
        assert.match(
          await borrower.ok("vm", "list"),
          /quiet .*(?:ready|lender silent)/,
          "nobody could tell",
        );
        await plugIn(world);
        await borrower.ok("daemon", "stop");
        // Sends its first heartbeat at once.
        await borrower.ok("daemon", "start", "--no-lend", "--port", "0");
        await until(async () => /No VM is borrowed/.test(await borrower.ok("vm", "list")), {
          timeoutMs: 30_000,
          what: "the borrower to be told",
        });
        assert.match(
          await borrower.ok("vm", "logs", "quiet"),
          /vm-lost .*reason=its tunnel was lost for 30 s/,
        );
      },
    );
  },
);
