import assert from "node:assert/strict";
import { createHash, randomBytes } from "node:crypto";
import { join } from "node:path";
import { sshOptions } from "../../lib/node/known_hosts.ts";
import { LENDER, shareLink, twoMachines } from "../support/two_machines.ts";
import { netlabMissing } from "../netlab/netlab.ts";
import type { Home } from "../support/home.ts";
import { PING } from "../support/ping.ts";
import { commandMissing, testIf } from "../support/requires.ts";
import { until } from "../support/until.ts";

const missing = netlabMissing ??
  commandMissing("qemu-system-x86_64", "qemu-img", "ssh", "scp", "ping");

/** Time for a translated guest on a busy host, in ms; an accelerated one takes a tenth. */
const READY_MS = 400_000;

testIf(missing, "W3, V6: lend, borrow, shell, files, list, release, nothing left", async (t) => {
  await using world = await twoMachines();
  const { lender, borrower, borrowerMachine } = world;
  await lender.shareImages();
  const welcome = await lender.startDaemon();
  assert.match(welcome, /Mesh provider daemon started/);
  await shareLink(world);

  await t.step("vm request shows the stages and ends with the ssh command", async () => {
    const result = await borrower.run(
      ["vm", "request", "--provider", LENDER, "--name", "web", "--cpu", "2"],
      { timeoutMs: READY_MS },
    );
    assert.equal(result.code, 0, result.stderr + await lender.logs());
    const stages = [...result.stdout.matchAll(/^ {2}([a-z-]+) +([0-9.]+) s$/gm)].map((m) => m[1]);
    // The tunnel may be up before cloud-init says that it has finished.
    assert.deepEqual(
      stages.filter((stage) => stage !== "cloud-init"),
      ["accepted", "disk", "qemu", "kernel", "tunnel", "ssh", "ready"],
    );
    assert.match(result.stdout, /VM Created Successfully!/);
    assert.match(result.stdout, /omerta ssh web\n.*ssh .*omerta@10\.0\.0\.2\n$/);
  });

  const firstHandshake = await lastHandshake(borrower);
  // Goes on beside the other steps, through the first rekey.
  const ping = borrowerMachine.spawn("ping", ["-i", "0.2", "10.0.0.2"], { stdout: "piped" });

  await t.step("omerta ssh runs a command and passes its exit code on", async () => {
    assert.match(await borrower.ok("ssh", "web", "uname", "-a"), /^Linux web .*GNU\/Linux\n$/);
    const failing = await borrower.run(["ssh", "web", "exit 7"]);
    assert.equal(failing.code, 7);
    const user = await borrower.ok("ssh", "web", "id -un; sudo id -un; ip route show default");
    assert.match(user, /^omerta\nroot\ndefault dev wg0/);
  });

  const { id } = (JSON.parse(await borrower.ok("vm", "list", "--json")) as {
    borrowed: { id: string }[];
  }).borrowed[0] ?? { id: "" };
  const options = sshOptions({ id }, borrower.paths.sshKey, borrower.paths.knownHosts);

  await t.step("plain ssh works with the printed options", async () => {
    const result = await borrowerMachine.runChecked("ssh", [
      ...options,
      "omerta@10.0.0.2",
      "hostname",
    ]);
    assert.equal(result.stdout, "web\n");
  });

  await t.step("a file goes each way unchanged", async () => {
    const folder = join(borrower.path, "..");
    const content = new Uint8Array(randomBytes(5_000_000));
    await Deno.writeFile(join(folder, "up"), content);
    const scp = (from: string, to: string): Promise<unknown> =>
      borrowerMachine.runChecked("scp", ["-q", ...options, from, to], { timeoutMs: 120_000 });
    await scp(join(folder, "up"), "omerta@10.0.0.2:file");
    const hash = createHash("sha256").update(content).digest("hex");
    assert.ok((await borrower.ok("ssh", "web", "sha256sum file")).startsWith(hash));
    await scp("omerta@10.0.0.2:file", join(folder, "down"));
    assert.deepEqual(await Deno.readFile(join(folder, "down")), content);
  });

  await t.step("V3: cloud-init took the user-data without complaint", async () => {
    const report = await borrower.ok("ssh", "web", "sudo cloud-init status --long || true");
    assert.match(report, /status: done/);
    const schema = await borrower.ok("ssh", "web", "sudo cloud-init schema --system 2>&1 || true");
    assert.match(schema, /Valid cloud-config|Valid schema/);
  });

  await t.step(
    "N6: the guest reaches nothing but its tunnel, and refusals are counted",
    async () => {
      // The second wall is taken down first: the filter alone has to hold.
      await borrower.ok("ssh", "web", "sudo nft flush ruleset");
      const probe = (address: string, ping = ["-c", "1", "-W", "2"]): Promise<string> =>
        borrower.ok(
          "ssh",
          "web",
          `ping ${ping.join(" ")} ${address} >/dev/null 2>&1 && echo reached || echo refused`,
        );
      // Positive controls: the same program reaches the other end of the tunnel, and the filter
      // answers ARP on the cable.
      assert.equal(await probe("10.0.0.1", [...PING]), "reached\n");
      assert.equal(await probe("192.168.100.1"), "refused\n");
      assert.match(await borrower.ok("ssh", "web", "ip neigh show 192.168.100.1"), /lladdr/);
      await borrower.ok("ssh", "web", `sudo ip route add ${LENDER} via 192.168.100.1`);
      // Positive control: the lender's address answers where it should.
      await borrowerMachine.runChecked("ping", [...PING, LENDER]);
      assert.equal(await probe(LENDER), "refused\n");
      const status: { cables: { refused: Record<string, number> }[] } = JSON.parse(
        await lender.ok("status", "--json"),
      );
      const refused = Object.values(status.cables[0]?.refused ?? {}).reduce((a, b) => a + b, 0);
      assert.ok(refused >= 2, JSON.stringify(status.cables));
    },
  );

  await t.step("N15: omerta prove asks the live filter of the VM, which goes on", async () => {
    const said = await lender.ok("prove", "web");
    assert.match(said, /the live filter of VM [0-9a-f]{16} was asked what it would do; nothing/);
    assert.match(said, /^tunnel +passes +passed +1\n/m);
    assert.match(said, /^spoofed-mac +refused +refused +5 +source-mac 5$/m);
    assert.match(said, /Held: all of \d+\n$/);
    assert.equal(await borrower.ok("ssh", "web", "hostname"), "web\n");
    assert.match(await lender.fails(2, "prove", "other"), /Cannot prove VM "other": none/);
  });

  await t.step("V8: console and log of the VM can be read", async () => {
    assert.match(
      await lender.ok("vm", "console", "web", "--lines", "500"),
      /OMERTA-STAGE cloud-init/,
    );
    assert.match(await lender.ok("vm", "logs", "web"), /vm-stage .*stage=ready/);
    assert.match(await borrower.ok("vm", "logs", "web"), /vm-ready/);
    assert.match(await borrower.ok("vm", "list"), /web .*ready/);
    assert.match(await lender.ok("vm", "list"), /web .*ready/);
  });

  await t.step("W1: no packet is lost over a rekey with the guest's kernel", async () => {
    // After 120 s (REKEY_AFTER_TIME) whoever began the session begins another.
    await until(async () => await lastHandshake(borrower) > firstHandshake, {
      timeoutMs: 200_000,
      what: "the next handshake",
    });
    await borrower.ok("ssh", "web", "true");
    ping.kill("SIGINT");
    const [status, report] = await Promise.all([ping.status, new Response(ping.stdout).text()]);
    assert.equal(status.code, 0);
    // Ctrl-C may come between the last question and its answer: every one before that has its own.
    const answered = Array.from(report.matchAll(/icmp_seq=(\d+) ttl/g), ([, seq]) => Number(seq));
    assert.ok(answered.length > 100, report);
    assert.deepEqual(answered, answered.map((_, i) => i + 1));
  });

  await t.step("W3: a borrower that comes back from another port finds its VM again", async () => {
    await borrower.ok("daemon", "stop");
    assert.equal(await borrower.hasTun(), false);
    assert.equal(await borrower.ok("ssh", "web", "hostname"), "web\n");
  });

  await t.step("release ends it, and nothing is left on either side", async () => {
    assert.match(await borrower.ok("vm", "release", "web"), /Released web\n/);
    assert.match(await borrower.ok("vm", "list"), /No VM is borrowed/);
    assert.deepEqual(await lender.vmFolders(), []);
    assert.deepEqual((await lender.processes()).filter((p) => p.includes("qemu")), []);
    assert.equal(await Deno.readTextFile(borrower.paths.knownHosts), "");
    assert.equal(await lender.stopDaemon(), 0);
    await borrower.ok("daemon", "stop");
    assert.equal(await borrower.hasTun(), false);
    assert.deepEqual([...await lender.processes(), ...await borrower.processes()], []);
  });

  await t.step("F8: no secret stands in a log", async () => {
    const logs = await lender.logs() + await borrower.logs();
    for (const secret of [...await lender.secrets(), ...await borrower.secrets()]) {
      assert.ok(!logs.includes(secret));
    }
  });
});

/** When the borrower's only tunnel had its last handshake: ms since 1970. */
async function lastHandshake(borrower: Home): Promise<number> {
  const status: { tunnels: { lastHandshake: number }[] } = JSON.parse(
    await borrower.ok("status", "--json"),
  );
  return status.tunnels[0]?.lastHandshake ?? 0;
}

testIf(missing, "Ctrl-C and kill -9 while a guest boots leave nothing", async (t) => {
  await using world = await twoMachines();
  const { lender, borrower } = world;
  await lender.shareImages();
  await lender.startDaemon();
  await shareLink(world);
  const request = (name: string): Deno.ChildProcess =>
    borrower.spawn(["vm", "request", "--provider", LENDER, "--name", name], {
      stdout: "null",
      stderr: "null",
    });
  const qemu = async (): Promise<string[]> =>
    (await lender.processes()).filter((line) => line.includes("qemu-system"));
  /** Waits until the lender has seen a stage of the VM of this name. */
  const reached = async (name: string, stage: string): Promise<void> => {
    await until(async () => {
      const log = await lender.run(["vm", "logs", name]);
      return log.stdout.includes(`stage=${stage}`);
    }, { timeoutMs: 60_000, what: `${name} to reach ${stage}` });
  };

  await t.step("Ctrl-C of vm request", async () => {
    const child = request("one");
    await reached("one", "kernel");
    child.kill("SIGINT");
    assert.notEqual((await child.status).code, 0);
    await until(async () => (await qemu()).length === 0, {
      timeoutMs: 30_000,
      what: "QEMU to end",
    });
    await until(async () => (await lender.vmFolders()).length === 0, { what: "the folder to go" });
    assert.match(await borrower.ok("vm", "list"), /No VM is borrowed/);
  });

  await t.step("kill -9 of the lender's daemon is cleaned up by its next start", async () => {
    const child = request("two");
    await reached("two", "kernel");
    await lender.stopDaemon("SIGKILL");
    assert.equal((await qemu()).length, 1, "QEMU outlives its daemon: the next start must find it");
    await lender.startDaemon();
    assert.deepEqual(await qemu(), []);
    assert.deepEqual(await lender.vmFolders(), []);
    assert.match(await lender.logs(), /"event":"swept"/);
    assert.notEqual((await child.status).code, 0, "the borrower is told");
    assert.match(await borrower.ok("vm", "list"), /No VM is borrowed/);
  });

  await t.step("Ctrl-C of the lender's daemon ends its guests and tells the borrower", async () => {
    const child = request("three");
    await reached("three", "kernel");
    assert.equal(await lender.stopDaemon("SIGINT"), 0);
    assert.deepEqual(await qemu(), []);
    assert.deepEqual(await lender.vmFolders(), []);
    assert.notEqual((await child.status).code, 0);
  });
});
