import assert from "node:assert/strict";
import { LENDER, shareLink, type TwoMachines, twoMachines } from "../support/two_machines.ts";
import { netlabMissing } from "../netlab/netlab.ts";
import { PING } from "../support/ping.ts";
import { commandMissing, testIf } from "../support/requires.ts";
import { until } from "../support/until.ts";

const missing = netlabMissing ?? commandMissing("qemu-system-x86_64", "qemu-img", "ssh", "ping");

/** Time for a translated guest on a busy host, in ms; an accelerated one takes a tenth. */
const READY_MS = 400_000;
/** A host of the lender's LAN: the router. */
const NEIGHBOR = "192.168.1.1";

/** What `status --json` tells about a cable. */
interface Cable {
  readonly id: string;
  readonly fromGuest: number;
  readonly unjudged: number;
  readonly refused: Record<string, number>;
}

/** Sets what the lender allows; its daemon reads it at each request. */
async function setPolicy(
  { lender }: TwoMachines,
  lend: { readonly modes?: readonly string[]; readonly sampleRate?: number },
): Promise<void> {
  const config: { lend: Record<string, unknown> } = JSON.parse(
    await Deno.readTextFile(lender.paths.config),
  );
  config.lend = { ...config.lend, ...lend };
  await Deno.writeTextFile(lender.paths.config, JSON.stringify(config));
}

async function cableOf({ lender }: TwoMachines): Promise<Cable | undefined> {
  const status: { cables: Cable[] } = JSON.parse(await lender.ok("status", "--json"));
  return status.cables[0];
}

testIf(
  missing,
  "N7, N8: conntrack and sampled end a VM for a violation, and only then",
  async (t) => {
    await using world = await twoMachines();
    const { lender, borrower, lenderMachine, borrowerMachine } = world;
    await lender.shareImages();
    await setPolicy(world, { modes: ["conntrack", "sampled"], sampleRate: 1 });
    await lender.startDaemon();
    await shareLink(world);
    const request = (mode: string, ...more: string[]): string[] => {
      return ["vm", "request", "--provider", LENDER, "--cpu", "2", "--mode", mode, ...more];
    };

    await t.step(
      "N8: a mode that the lender forbids is refused, and what is allowed named",
      async () => {
        const words = await borrower.fails(5, ...request("filtered", "--name", "strict"));
        assert.match(
          words,
          /Cannot lend a VM in mode filtered: this lender allows conntrack, sampled/,
        );
        assert.match(words, /Next: Ask with --mode conntrack/);
        assert.match(await borrower.ok("vm", "list"), /No VM is borrowed/);
        await borrower.fails(2, ...request("open", "--name", "strict"));
      },
    );

    for (const mode of ["conntrack", "sampled"]) {
      const name = `in-${mode}`;
      await t.step(
        `N7: a guest in mode ${mode} comes up, works and survives untouched`,
        async () => {
          const result = await borrower.run(request(mode, "--name", name), { timeoutMs: READY_MS });
          assert.equal(result.code, 0, result.stderr + await lender.logs());
          assert.match(
            await borrower.ok("ssh", name, "uname", "-a"),
            new RegExp(`^Linux ${name} `),
          );
          for (const home of [lender, borrower]) {
            assert.match(await home.ok("vm", "list"), new RegExp(`${name} .* ${mode} .*ready`));
            assert.match(await home.ok("status"), new RegExp(`${name} .*mode ${mode}`));
          }
          const cable = await cableOf(world);
          assert.ok(cable);
          assert.equal(cable.unjudged > 0, mode === "conntrack", JSON.stringify(cable));
          assert.doesNotMatch(await lender.ok("vm", "logs", name), /vm-violation/);
        },
      );

      await t.step(`N7: behind its own firewall a guest in mode ${mode} cannot err`, async () => {
        const refused = await borrower.ok(
          "ssh",
          name,
          `sudo ip route add ${NEIGHBOR} via 192.168.100.1 && ` +
            `! sudo ping -c 1 -W 1 ${NEIGHBOR} >/dev/null 2>&1 && hostname`,
        );
        assert.equal(refused, `${name}\n`);
        // The noise that every Linux makes, now made on purpose: none of it is a violation.
        const chatter = "sudo sysctl -qw net.ipv6.conf.all.accept_ra=2; " +
          "sudo nft flush ruleset; dev=$(ip -br -4 addr | awk '/192.168.100.2/{print $1}'); " +
          "sudo ip link set $dev down; sudo ip link set $dev up; " +
          "sudo ip addr replace 192.168.100.2/24 dev $dev; " +
          `sudo ip route replace ${NEIGHBOR} via 192.168.100.1; ` +
          "ping -c 2 -W 1 -I $dev 224.0.0.1 >/dev/null 2>&1; ping -c 1 -W 1 ff02::2%$dev " +
          ">/dev/null 2>&1; hostname";
        assert.equal(await borrower.ok("ssh", name, chatter), `${name}\n`);
        const cable = await cableOf(world);
        assert.ok((cable?.refused["ipv6"] ?? 0) > 0, JSON.stringify(cable));
        assert.ok((cable?.refused["destination-mac"] ?? 0) > 0, JSON.stringify(cable));
      });

      await t.step(`N15: asking the filter of a VM in mode ${mode} does not end it`, async () => {
        const { held, proofs } = JSON.parse(await lender.ok("prove", name, "--json"));
        assert.deepEqual([held, proofs[0].mode], [true, mode]);
        assert.equal(await borrower.ok("ssh", name, "hostname"), `${name}\n`);
      });

      await t.step(`N7: a tunnel that was away does not end a VM in mode ${mode}`, async () => {
        // Meanwhile the guest's kernel answers what comes for the tunnel with ICMP "unreachable".
        const away = "wg-quick down wg0; sleep 10; wg-quick up wg0";
        await borrower.ok("ssh", name, `sudo systemd-run --quiet sh -c '${away}'`);
        await until(async () => {
          await borrowerMachine.run("ping", ["-c", "1", "-W", "1", "10.0.0.2"]);
          return ((await cableOf(world))?.refused["protocol"] ?? 0) > 0;
        }, { timeoutMs: 30_000, what: "the guest's kernel to say that nobody listens" });
        await until(
          async () => (await borrower.run(["ssh", name, "hostname"])).stdout === `${name}\n`,
          { timeoutMs: 60_000, what: "the tunnel to be back" },
        );
      });

      await t.step(
        `N7: without it, a packet to the lender's LAN ends a VM in mode ${mode}`,
        async () => {
          // The control: the address is there, for those who are on that network.
          await lenderMachine.runChecked("ping", [...PING, NEIGHBOR]);
          const ask = `ping ${PING.join(" ")} 10.0.0.1 && hostname`;
          const control = await borrower.ok("ssh", name, ask);
          assert.match(control, new RegExp(`${name}\n$`));
          const shell = borrower.spawn(["ssh", name, `ping -c 5 ${NEIGHBOR}`], {
            stdout: "null",
            stderr: "null",
          });
          await until(async () => (await lender.vmFolders()).length === 0, {
            timeoutMs: 30_000,
            what: "the VM to be ended",
          });
          await until(async () => /No VM is borrowed/.test(await borrower.ok("vm", "list")), {
            timeoutMs: 30_000,
            what: "the borrower to be told",
          });
          assert.equal((await shell.status).code, 5, "an open shell ends with its VM");
          assert.deepEqual((await lender.processes()).filter((line) => line.includes("qemu")), []);
          const words = new RegExp(
            `it sent ICMP 192\\.168\\.100\\.2 > 192\\.168\\.1\\.1 echo request .*\\(destination\\), ` +
              `which mode ${mode} ends a VM for`,
          );
          assert.match(await lender.ok("vm", "logs", name), words);
          assert.match(await lender.ok("vm", "logs", name), /vm-violation/);
          assert.match(await borrower.ok("vm", "logs", name), words);
        },
      );
    }
  },
);
