import assert from "node:assert/strict";
import { NetLab, netlabMissing } from "../netlab/netlab.ts";
import type { Namespace } from "../netlab/netlab.ts";
import { Home } from "../support/home.ts";
import { PING } from "../support/ping.ts";
import { commandMissing, testIf } from "../support/requires.ts";
import { until } from "../support/until.ts";

const missing = netlabMissing ??
  commandMissing("qemu-system-x86_64", "qemu-img", "ssh", "ping", "python3");

/** Time for four translated guests at once on a busy host, in ms. */
const READY_MS = 500_000;
const LENDER = "192.168.1.100";
/** Pings that are sent to each VM while another floods. */
const PINGS = 20;

/** Sends as fast as it can to the tunnel's endpoint and to where nothing may go, until it is ended. */
const GUEST_FLOOD = `
import socket
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
small, large = b"x" * 30, b"y" * 1400
to = [("192.168.100.1", 51820), ("192.168.100.1", 53), ("192.168.1.1", 51820), ("10.0.0.1", 9)]
while True:
    for where in to:
        for data in (small, large):
            try:
                s.sendto(data, where)
            except OSError:
                pass
`;

/** Sends as fast as it can what looks like control messages and like WireGuard. */
const BORROWER_FLOOD = `
import os, socket
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
kinds = [b"\\0" + os.urandom(200), b"\\4\\0\\0\\0" + os.urandom(92), b"\\1\\0\\0\\0" + os.urandom(144)]
while True:
    for data in kinds:
        try:
            s.sendto(data, ("${LENDER}", 51820))
        except OSError:
            pass
`;

/** What the lender's \`status --json\` tells that is looked at. */
interface Status {
  readonly cables: readonly {
    readonly id: string;
    readonly fromGuest: number;
    readonly refused: Readonly<Record<string, number>>;
  }[];
  readonly controlFaults: Readonly<Record<string, number>>;
  readonly lending: { readonly vms: readonly { readonly id: string; readonly name: string }[] };
}

function sum(counts: Readonly<Record<string, number>> = {}): number {
  return Object.values(counts).reduce((a, b) => a + b, 0);
}

testIf(missing, "V9: four guests of two borrowers at once", async (t) => {
  await using stack = new AsyncDisposableStack();
  const lab = stack.use(await NetLab.create());
  const router = await lab.router("router");
  const machine = async (label: string, network: string, host: string): Promise<Namespace> => {
    const made = await lab.namespace(label);
    await lab.connect(made, `${network}.${host}/24`, router, `${network}.1/24`);
    await made.route("add", "default", "via", `${network}.1`);
    return made;
  };
  const lenderMachine = await machine("lender", "192.168.1", "100");
  const machines = [
    await machine("first", "192.168.2", "7"),
    await machine("second", "192.168.3", "7"),
  ] as const;
  const lender = stack.use(await Home.create(lenderMachine));
  const first = stack.use(await Home.create(machines[0]));
  const second = stack.use(await Home.create(machines[1]));
  await lender.shareImages();
  await lender.ok("lend", "set", "cpus", "6");
  await lender.startDaemon();
  // Whether a borrower's machine forwards between its own VMs is its own affair; these do not.
  for (const one of machines) {
    await one.runChecked("sh", ["-c", "echo 0 > /proc/sys/net/ipv4/ip_forward"]);
  }
  const link = (await lender.ok("key", "share", "--host", LENDER)).trim();
  const vms = [
    { name: "a1", home: first, machine: machines[0], address: "" },
    { name: "a2", home: first, machine: machines[0], address: "" },
    { name: "b1", home: second, machine: machines[1], address: "" },
    { name: "b2", home: second, machine: machines[1], address: "" },
  ];
  const status = async (): Promise<Status> => JSON.parse(await lender.ok("status", "--json"));
  /** Frames of a1 that were refused so far. */
  const refusedOfA1 = async (): Promise<number> => {
    const { cables, lending } = await status();
    const id = lending.vms.find(({ name }) => name === "a1")?.id;
    return sum(cables.find((cable) => cable.id === id)?.refused);
  };
  /** How many of the pings to each VM but the flooded one are answered. */
  const pingOthers = (): Promise<number[]> =>
    Promise.all(
      vms.slice(1).map(async ({ machine, address }) => {
        const args = ["-c", String(PINGS), "-i", "0.3", "-W", "5", address];
        const { stdout } = await machine.run("ping", args, { timeoutMs: 60_000 });
        return Number(/(\d+) received/.exec(stdout)?.[1]);
      }),
    );
  /** A question that goes to the lender and back, asked by the second borrower. */
  const askLender = async (): Promise<void> => {
    const request = ["vm", "request", "--provider", LENDER, "--name", "dry", "--dry-run"];
    await second.ok(...request);
    await second.ok("vm", "release", "dry");
    assert.match(await second.ok("vm", "list"), /b1 .*ready/);
    assert.match(await lender.ok("vm", "list"), /a1 .*ready/);
  };

  await t.step("V9: all come up, and each is reached by its borrower", async () => {
    for (const home of [first, second]) await home.ok("key", "import", link);
    const results = await Promise.all(vms.map(({ name, home }) => {
      const request = ["vm", "request", "--provider", LENDER, "--name", name, "--cpu", "1"];
      return home.run([...request, "--memory", "512"], { timeoutMs: READY_MS });
    }));
    for (const { code, stderr } of results) assert.equal(code, 0, stderr);
    for (const vm of vms) {
      assert.equal(await vm.home.ok("ssh", vm.name, "hostname"), `${vm.name}\n`);
      const list: { borrowed: { name: string; address: string }[] } = JSON.parse(
        await vm.home.ok("vm", "list", "--json"),
      );
      vm.address = list.borrowed.find(({ name }) => name === vm.name)?.address ?? "";
    }
    const lent = (await status()).lending.vms.map(({ name }) => name).sort();
    assert.deepEqual(lent, ["a1", "a2", "b1", "b2"]);
  });

  await t.step("V9: nobody reaches the VMs of the other borrower", async () => {
    // By name nothing is found; by address each finds their own, under the key of their own.
    for (const [home, name] of [[first, "b1"], [second, "a1"]] as const) {
      const result = await home.run(["ssh", name, "hostname"]);
      assert.notEqual(result.code, 0);
      assert.match(result.stderr, /Cannot find/);
    }
    const addresses = vms.map(({ address }) => address);
    assert.deepEqual(addresses.slice(0, 2).sort(), addresses.slice(2).sort(), "the same for both");
    const ids = (await status()).lending.vms;
    const foreign = ids.find(({ name }) => name === "a1")?.id ?? "";
    const { code } = await second.run(["vm", "release", foreign]);
    assert.notEqual(code, 0);
    assert.equal(await first.ok("ssh", "a1", "hostname"), "a1\n");
  });

  await t.step("V9: no VM reaches another", async () => {
    const reaches = (address: string, ping = ["-c", "1", "-W", "2"]): Promise<string> =>
      first.ok(
        ...["ssh", "a1"],
        `ping ${ping.join(" ")} ${address} >/dev/null 2>&1 && echo reached || echo refused`,
      );
    await first.ok("ssh", "a1", "sudo nft flush ruleset");
    const neighbor = vms[1]?.address ?? "";
    // The controls: a1 reaches its borrower, and its borrower reaches a2, where it does not.
    assert.equal(await reaches("10.0.0.1", [...PING]), "reached\n");
    await machines[0].runChecked("ping", [...PING, neighbor]);
    assert.equal(await reaches(neighbor), "refused\n");
    assert.equal(await reaches("192.168.100.3"), "refused\n");
  });

  await t.step("V9: a guest that floods starves neither the others nor the lender", async () => {
    const before = await refusedOfA1();
    await first.ok("ssh", "a1", "sudo ip route replace 192.168.1.1 via 192.168.100.1; hostname");
    const flood = first.spawn(["ssh", "a1", "sudo timeout 90 python3 -"], {
      stdin: "piped",
      stdout: "null",
      stderr: "null",
    });
    const writer = flood.stdin.getWriter();
    await writer.write(new TextEncoder().encode(GUEST_FLOOD));
    await writer.close();
    try {
      await until(async () => await refusedOfA1() > before + 1000, {
        timeoutMs: 60_000,
        what: "the flood to begin",
      });
      const answered = await pingOthers();
      assert.ok(answered.every((count) => count >= PINGS / 4), `answered: ${answered}`);
      await askLender();
      // The control: it went on all the while.
      const now = await refusedOfA1();
      await until(async () => await refusedOfA1() > now, {
        timeoutMs: 60_000,
        what: "the flood to go on",
      });
    } finally {
      flood.kill("SIGTERM");
      await flood.status;
    }
  });

  await t.step("V9: a borrower that floods starves neither the others nor the lender", async () => {
    const before = await status();
    const flood = machines[0].spawn("python3", ["-c", BORROWER_FLOOD], { stderr: "null" });
    const refused = async (): Promise<number> => sum((await status()).controlFaults);
    try {
      await until(async () => await refused() > sum(before.controlFaults) + 100, {
        timeoutMs: 60_000,
        what: "the flood to begin",
      });
      const answered = (await pingOthers()).slice(1);
      assert.ok(answered.every((count) => count >= PINGS / 4), `answered: ${answered}`);
      await askLender();
      const now = await refused();
      await until(async () => await refused() > now, {
        timeoutMs: 60_000,
        what: "the flood to go on",
      });
    } finally {
      flood.kill("SIGTERM");
      await flood.status;
    }
    assert.equal(await first.ok("ssh", "a2", "hostname"), "a2\n");
  });

  await t.step("N16: a VM whose QEMU is killed ends by itself, the others go on", async () => {
    for (const pid of await lenderMachine.processes()) {
      const words = await Deno.readTextFile(`/proc/${pid}/cmdline`).catch(() => "");
      if (words.includes("guest=b2")) Deno.kill(pid, "SIGKILL");
    }
    await until(async () => !/b2/.test(await second.ok("vm", "list")), {
      timeoutMs: 30_000,
      what: "its borrower to be told",
    });
    assert.match(await second.ok("vm", "logs", "b2"), /vm-lost .*the guest has ended/);
    assert.equal((await lender.vmFolders()).length, 3);
    assert.equal((await status()).cables.length, 3);
    assert.equal(await second.ok("ssh", "b1", "hostname"), "b1\n");
  });

  await t.step("V9: all are released, and nothing is left", async () => {
    for (const home of [first, second]) {
      await home.run(["vm", "release", "--all"], { timeoutMs: 120_000 });
      assert.match(await home.ok("vm", "list"), /No VM is borrowed/);
    }
    assert.deepEqual(await lender.vmFolders(), []);
    assert.deepEqual((await lender.processes()).filter((line) => line.includes("qemu")), []);
    assert.deepEqual((await status()).cables, []);
  });
});
