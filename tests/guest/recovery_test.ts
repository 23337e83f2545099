import assert from "node:assert/strict";
import { BORROWER, LENDER, shareLink, twoMachines } from "../support/two_machines.ts";
import { netlabMissing } from "../netlab/netlab.ts";
import type { Home } from "../support/home.ts";
import { commandMissing, testIf } from "../support/requires.ts";
import { until } from "../support/until.ts";

const missing = netlabMissing ??
  commandMissing("qemu-system-x86_64", "qemu-img", "ssh", "ping", "nc");

/** Time for three translated guests at once on a busy host, in ms. */
const READY_MS = 400_000;
/** Time for a tunnel to find its way again, in ms: two rounds of WireGuard's and ours. */
const BACK_MS = 90_000;
const MODES = ["filtered", "conntrack", "sampled"] as const;
/** A boot id, and how many rules of the guest's firewall drop. */
const BOOT = /^[0-9a-f-]{36}\n[1-9]\d*\n$/;
/** Where lender and borrower are after they have moved. */
const LENDER_THEN = "192.168.1.101";
const BORROWER_THEN = "192.168.2.8";

/** `omerta ssh VM cat`, which goes on through everything. */
class Session implements AsyncDisposable {
  readonly #child: Deno.ChildProcess;
  readonly #in: WritableStreamDefaultWriter<Uint8Array>;
  readonly #ended: Promise<void>;
  #text = "";

  constructor(home: Home, vm: string) {
    this.#child = home.spawn(["ssh", vm, "cat"], {
      stdin: "piped",
      stdout: "piped",
      stderr: "inherit",
    });
    this.#in = this.#child.stdin.getWriter();
    this.#ended = this.#read();
  }

  async #read(): Promise<void> {
    for await (const text of this.#child.stdout.pipeThrough(new TextDecoderStream())) {
      this.#text += text;
    }
  }

  /** Sends a word through the session and waits for it to come back. */
  async echoes(word: string, timeoutMs = 30_000): Promise<void> {
    await this.#in.write(new TextEncoder().encode(`${word}\n`));
    await until(() => this.#text.endsWith(`${word}\n`), {
      timeoutMs,
      what: `${word} to come back`,
    });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#in.close().catch(() => {});
    await this.#child.status;
    await this.#ended;
  }
}

testIf(missing, "N17: reboots, moves and a network that goes away", async (t) => {
  await using world = await twoMachines();
  const { lender, borrower, lenderMachine, borrowerMachine } = world;
  await lender.shareImages();
  await lender.ok("lend", "set", "cpus", "3");
  await lender.ok("lend", "set", "sample-rate", "1");
  await lender.startDaemon();
  await shareLink(world);

  const idsOf = async (): Promise<string[]> => {
    const list: { id: string; name: string }[] =
      JSON.parse(await borrower.ok("vm", "list", "--json")).borrowed;
    return list.map(({ id, name }) => `${name} ${id}`).sort();
  };
  /** What a VM says of its boot; nothing while it is away: ssh then waits, and is given up. */
  const bootOf = async (vm: string): Promise<string> => {
    const words = "cat /proc/sys/kernel/random/boot_id; sudo nft list ruleset | grep -c drop";
    try {
      const result = await borrower.run(["ssh", vm, words], { timeoutMs: 30_000 });
      return result.code === 0 ? result.stdout : "";
    } catch {
      return "";
    }
  };

  await t.step("a guest in each mode comes up, all at once", async () => {
    const results = await Promise.all(MODES.map((mode) =>
      borrower.run(
        ["vm", "request", "--provider", LENDER, "--name", mode, "--mode", mode, "--memory", "512"],
        { timeoutMs: READY_MS },
      )
    ));
    for (const { code, stderr } of results) assert.equal(code, 0, stderr);
  });
  /** What the SSH server says at the other end of a forward; it hangs up on who greets it wrongly. */
  const greeting = async (): Promise<string> => {
    const args = ["-w", "30", "127.0.0.1", "2222"];
    return (await borrowerMachine.run("nc", args, { input: "nobody\n" })).stdout;
  };
  await borrower.ok("forward", "2222:filtered:22", "--background");
  assert.match(await greeting(), /^SSH-2\.0-/);
  const ids = await idsOf();

  await t.step("N17: a guest that reboots has its tunnel again, in every mode", async () => {
    const before = await Promise.all(MODES.map(bootOf));
    for (const boot of before) assert.match(boot, BOOT);
    // From its own process: the session that asks for it may hang in the middle of it.
    const words = "sudo systemd-run --quiet --on-active=1 systemctl reboot";
    for (const vm of MODES) await borrower.ok("ssh", vm, words);
    // By its boot id, and nothing less: a ping that is lost on a busy host is no guest that is down.
    const after = await Promise.all(MODES.map((vm, i) =>
      until(async () => {
        const boot = await bootOf(vm);
        return boot !== before[i] && boot;
      }, { timeoutMs: READY_MS, what: `${vm} to be back from its reboot` })
    ));
    for (const boot of after) assert.match(boot, BOOT, "its firewall is back as well");
    assert.deepEqual(await idsOf(), ids, "they are the same VMs");
    assert.match(await greeting(), /^SSH-2\.0-/, "the next connection of a forward reaches it");
    assert.doesNotMatch(await lender.logs(), /vm-violation/);
  });

  {
    await using session = new Session(borrower, "conntrack");
    await session.echoes("at first");

    await t.step("N17: a session goes on when the borrower has another address", async () => {
      await borrowerMachine.deleteAddress("eth0", `${BORROWER}/24`);
      await borrowerMachine.addAddress("eth0", `${BORROWER_THEN}/24`);
      await borrowerMachine.route("replace", "default", "via", "192.168.2.1");
      await session.echoes("after the borrower has moved", BACK_MS);
      assert.match(await lender.ok("vm", "list"), new RegExp(BORROWER_THEN));
      assert.doesNotMatch(
        await lender.ok("vm", "list"),
        new RegExp(BORROWER.replaceAll(".", "\\.") + ":"),
      );
    });

    await t.step("N17: a session goes on when the lender's network was away", async () => {
      const ping = ["-c", "1", "-W", "1", "10.0.0.2"];
      await lenderMachine.setLink("eth0", "down");
      assert.notEqual((await borrowerMachine.run("ping", ping)).code, 0);
      // What is said meanwhile is said again by TCP.
      const echoed = session.echoes("after the network was away", BACK_MS);
      await until(async () => /lender silent/.test(await borrower.ok("vm", "list")), {
        timeoutMs: BACK_MS,
        what: "the borrower to notice",
      });
      await lenderMachine.setLink("eth0", "up");
      await lenderMachine.route("replace", "default", "via", "192.168.1.1");
      await echoed;
      await until(async () => !/lender silent/.test(await borrower.ok("vm", "list")), {
        timeoutMs: BACK_MS,
        what: "the borrower to hear of the lender",
      });
    });

    await t.step("N17: a session goes on when the lender has another address", async () => {
      await lenderMachine.deleteAddress("eth0", `${LENDER}/24`);
      await lenderMachine.addAddress("eth0", `${LENDER_THEN}/24`);
      await lenderMachine.route("replace", "default", "via", "192.168.1.1");
      await session.echoes("after the lender has moved", BACK_MS);
      await until(async () => (await borrower.logs()).includes(`"to":"${LENDER_THEN}:51820"`), {
        timeoutMs: BACK_MS,
        what: "control messages to follow the tunnel",
      });
    });
    assert.deepEqual(await idsOf(), ids);
  }

  await t.step("an open ssh ends with the reason when the lender ends the VM", async () => {
    const words = "sudo nft flush ruleset; sudo ip route add 192.168.1.1 via 192.168.100.1; " +
      "ping -c 1 192.168.1.1; sleep 600";
    const result = await borrower.run(["ssh", "sampled", words], { timeoutMs: BACK_MS });
    assert.equal(result.code, 5, result.stderr);
    assert.match(
      result.stderr,
      /Cannot go on with VM "sampled": it sent ICMP .* which mode sampled ends a VM for/,
    );
  });

  await t.step(
    "the others are given back to where the lender is now, nothing is left",
    async () => {
      const released = await borrower.run(["vm", "release", "--all"], { timeoutMs: 120_000 });
      assert.equal(released.code, 0, released.stderr);
      assert.match(await borrower.ok("vm", "list"), /No VM is borrowed/);
      assert.deepEqual(await lender.vmFolders(), []);
      assert.deepEqual((await lender.processes()).filter((line) => line.includes("qemu")), []);
    },
  );
});
