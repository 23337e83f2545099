import assert from "node:assert/strict";
import { join } from "node:path";
import type { Namespace } from "../netlab/netlab.ts";
import { netlabMissing } from "../netlab/netlab.ts";
import type { Home } from "../support/home.ts";
import { PING } from "../support/ping.ts";
import { commandMissing, testIf } from "../support/requires.ts";
import { LENDER, shareLink, twoMachines } from "../support/two_machines.ts";
import { until } from "../support/until.ts";

const missing = netlabMissing ?? commandMissing("qemu-system-x86_64", "qemu-img", "ssh", "ss");

/** Time for two translated guests at once on a busy host, in ms. */
const READY_MS = 280_000;
/** A host on the internet of the lab. */
const INTERNET = "203.0.113.7";
/** A host of the lender's LAN: its router. */
const NEIGHBOR = "192.168.1.1";
/** What QEMU calls the lender's host. */
const HOST = "198.51.100.2";
const PORT = "8080";

/** Starts a server on a machine that says who answers, and waits until it listens. */
async function serve(machine: Namespace, ...args: readonly string[]): Promise<void> {
  const script = join(import.meta.dirname ?? ".", "..", "support", "who_server.ts");
  const child = machine.spawn(Deno.execPath(), ["run", "--quiet", "-A", script, ...args], {
    stdout: "piped",
  });
  const reader = child.stdout.getReader();
  const { done } = await reader.read();
  reader.releaseLock();
  await child.stdout.cancel();
  assert.equal(done, false, "the server has ended");
}

/** What answers a guest at an address; `nobody` when nothing does. */
async function whoAnswers(borrower: Home, vm: string, address: string): Promise<string> {
  const ask = `exec 3<>/dev/tcp/${address}/${PORT} && read -r line <&3 && echo "$line"`;
  return await borrower.ok("ssh", vm, `timeout 4 bash -c '${ask}' 2>/dev/null || echo nobody`);
}

/** The same of an address where there is somebody, whose answer may take longer on a busy host. */
async function answerOf(borrower: Home, vm: string, address: string): Promise<string> {
  return await until(async () => {
    const answer = await whoAnswers(borrower, vm, address);
    return answer !== "nobody\n" && answer;
  }, { timeoutMs: 60_000, what: `an answer from ${address}` });
}

testIf(missing, "N8, N12: mode direct, beside a filtered VM of the same lender", async (t) => {
  await using world = await twoMachines();
  const { lab, router, lender, borrower, lenderMachine, borrowerMachine } = world;
  const internet = await lab.namespace("internet");
  await lab.connect(internet, `${INTERNET}/24`, router, "203.0.113.1/24");
  await internet.route("add", "default", "via", "203.0.113.1");
  // What ip-netns(8) shows the programs of a namespace as their /etc/resolv.conf.
  const names = `/etc/netns/${lenderMachine.name}`;
  await Deno.mkdir(names, { recursive: true });
  await using stack = new AsyncDisposableStack();
  stack.defer(() => Deno.remove(names, { recursive: true }));
  await Deno.writeTextFile(join(names, "resolv.conf"), `nameserver ${INTERNET}\n`);
  await serve(internet, "internet", INTERNET, PORT, INTERNET);
  await serve(router, "neighbor", NEIGHBOR, PORT);
  await serve(lenderMachine, "loopback", "127.0.0.1", PORT);
  await lender.shareImages();
  await lender.startDaemon();
  await shareLink(world);
  const request = (mode: string): string[] => {
    return ["vm", "request", "--provider", LENDER, "--name", `in-${mode}`, "--mode", mode];
  };

  await t.step("a lender that has not allowed it refuses, and says what would", async () => {
    const words = await borrower.fails(5, ...request("direct"));
    assert.match(words, /Warning: In mode direct the VM uses the lender's internet connection/);
    assert.match(
      words,
      /mode direct: this lender allows filtered, conntrack, sampled, ebpf \(rule modes\)/,
    );
    assert.match(words, /Next: .*'omerta lend set modes filtered,conntrack,sampled,ebpf,direct'/);
  });

  await t.step("whoever allows it is told what it means", async () => {
    for (const args of [["set", "modes", "filtered,direct"], ["show"]]) {
      const { code, stderr } = await lender.run(["lend", ...args]);
      assert.equal(code, 0, stderr);
      assert.match(stderr, /Warning: A VM in mode direct uses this host's internet connection/);
    }
    assert.match(await lender.ok("status"), /a VM in mode direct reaches this host/);
  });

  await t.step("both come up", async () => {
    const results = await Promise.all(
      ["direct", "filtered"].map((mode) => borrower.run(request(mode), { timeoutMs: READY_MS })),
    );
    for (const { code, stderr } of results) assert.equal(code, 0, stderr + await lender.logs());
    assert.match(await lender.logs(), /in-direct\W+ of peer .*A VM in mode direct uses/);
    assert.doesNotMatch(await lender.logs(), /in-filtered\W+ of peer/);
    assert.match(await borrower.ok("vm", "list"), /in-direct .* direct .*ready/);
  });

  await t.step("N8: a direct VM is where its lender is, and a filtered one nowhere", async () => {
    assert.equal(await answerOf(borrower, "in-direct", INTERNET), `internet sees ${LENDER}\n`);
    assert.equal(
      await answerOf(borrower, "in-direct", NEIGHBOR),
      "neighbor sees 192.168.1.100\n",
    );
    // The control: both have their tunnel.
    for (const vm of ["in-direct", "in-filtered"]) {
      await borrower.ok("ssh", vm, `ping ${PING.join(" ")} 10.0.0.1`);
    }
    const flush = `sudo nft flush ruleset && sudo ip route add ${INTERNET} via 192.168.100.1`;
    await borrower.ok("ssh", "in-filtered", flush);
    assert.equal(await whoAnswers(borrower, "in-filtered", INTERNET), "nobody\n");
  });

  await t.step(
    "N8: routes and names come from the second card, the tunnel keeps its own",
    async () => {
      const routes = await borrower.ok("ssh", "in-direct", "ip route show");
      assert.match(routes, /^default via 198\.51\.100\.2 dev \S+ proto dhcp/m);
      assert.match(routes, /^10\.0\.0\.0\/16 dev wg0/m);
      assert.doesNotMatch(routes, /default dev wg0/);
      const found = await borrower.ok("ssh", "in-direct", "getent ahostsv4 who.test");
      assert.match(found, new RegExp(`^${INTERNET.replaceAll(".", "\\.")} `));
      const other = await borrower.ok("ssh", "in-filtered", "ip route show default");
      assert.match(other, /^default dev wg0/);
    },
  );

  await t.step(
    "N12: vm connections shows what is open, by name, and for others where to look",
    async () => {
      const shell = borrower.spawn(
        ["ssh", "in-direct", `exec 3<>/dev/tcp/${INTERNET}/${PORT}; sleep 60`],
        { stdout: "null", stderr: "null" },
      );
      try {
        const row = new RegExp(`^tcp +ESTAB +${LENDER}:\\d+ +${INTERNET}:${PORT} *$`, "m");
        await until(async () => row.test(await lender.ok("vm", "connections", "in-direct")), {
          timeoutMs: 45_000,
          what: "the connection",
        });
        const view: { mode: string; connections: { peer: string }[] } = JSON.parse(
          await lender.ok("vm", "connections", "in-direct", "--json"),
        );
        assert.equal(view.mode, "direct");
        assert.ok(view.connections.some(({ peer }) => peer === `${INTERNET}:${PORT}`));
      } finally {
        shell.kill("SIGTERM");
        await shell.status;
      }
      assert.match(
        await lender.ok("vm", "connections", "in-filtered"),
        /mode filtered: it has no connections of its own on this host. 'omerta status' counts/,
      );
      await lender.fails(2, "vm", "connections", "nothing");
    },
  );

  await t.step(
    "N8: the guest's wall guards the lender's host, until root in the guest takes it down",
    async () => {
      assert.equal(await whoAnswers(borrower, "in-direct", HOST), "nobody\n");
      await borrower.ok("ssh", "in-direct", "sudo nft flush ruleset");
      // As the warning says: what listens on 127.0.0.1 of the lender's host only is reached.
      assert.equal(await answerOf(borrower, "in-direct", HOST), "loopback sees 127.0.0.1\n");
      await borrower.ok("ssh", "in-direct", "sudo nft -f /etc/nftables.conf");
    },
  );

  await t.step("N8: on the cable a direct VM is filtered like any other", async () => {
    const over = `sudo nft flush ruleset; sudo ip route add ${INTERNET} via 192.168.100.1`;
    await borrower.ok("ssh", "in-direct", over);
    assert.equal(await whoAnswers(borrower, "in-direct", INTERNET), "nobody\n");
    await borrower.ok("ssh", "in-direct", `sudo ip route delete ${INTERNET}`);
    assert.equal(await answerOf(borrower, "in-direct", INTERNET), `internet sees ${LENDER}\n`);
    await borrower.ok("ssh", "in-direct", "sudo nft -f /etc/nftables.conf");
  });

  await t.step("N8: without wireguard-tools the tunnel takes the same routes", async () => {
    // It begins when this session has ended. A connection that is open without the tunnel is answered
    // by the second card's router: reset for the guest, while the borrower hears nothing.
    const other = "tail --pid=$PPID -f /dev/null; wg-quick down wg0; python3 /etc/omerta/wg0.py";
    await borrower.ok(
      "ssh",
      "in-direct",
      `sudo systemd-run --quiet sh -c "${other}; touch /run/other"`,
    );
    const impatient = ["ConnectTimeout=5", "ServerAliveInterval=2", "ServerAliveCountMax=2"]
      .flatMap((setting) => ["-o", setting]);
    await until(
      async () =>
        (await borrower.run(["ssh", ...impatient, "in-direct", "test -e /run/other"])).code === 0,
      { timeoutMs: 60_000, what: "the tunnel to be back" },
    );
    assert.match(
      await borrower.ok("ssh", "in-direct", "ip route show"),
      /^10\.0\.0\.0\/16 dev wg0/m,
    );
    assert.equal(await answerOf(borrower, "in-direct", INTERNET), `internet sees ${LENDER}\n`);
  });

  await t.step("N8: release leaves nothing", async () => {
    await borrower.ok("vm", "release", "--all");
    assert.deepEqual(await lender.vmFolders(), []);
    assert.deepEqual((await lender.processes()).filter((line) => line.includes("qemu")), []);
    const { stdout } = await lenderMachine.runChecked("ss", ["-Htunap"]);
    assert.doesNotMatch(stdout, /qemu/);
    await borrowerMachine.runChecked("ping", [...PING, LENDER]);
  });
});
