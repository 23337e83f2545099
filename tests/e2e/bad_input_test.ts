import assert from "node:assert/strict";
import type { BorrowedVm } from "../../lib/node/lease_store.ts";
import { netlabMissing } from "../netlab/netlab.ts";
import { testIf } from "../support/requires.ts";
import { LENDER, shareLink, twoMachines } from "../support/two_machines.ts";

const request = (...more: string[]): string[] => [
  "vm",
  "request",
  ...["--provider", LENDER, "--name", "web", "--dry-run"],
  ...more,
];

testIf(netlabMissing, "a wrong key is never answered, and the error says so", async () => {
  await using world = await twoMachines();
  await world.lender.startDaemon("--dry-run");
  const words = await world.borrower.fails(4, ...request());
  assert.match(words, /Cannot reach 192\.168\.1\.100:51820: no answer/);
  assert.match(words, /Next: .*a wrong key is never answered/);
  assert.match(await world.borrower.ok("vm", "list"), /No VM is borrowed/);
  const status: { controlFaults: Record<string, number> } = JSON.parse(
    await world.lender.ok("status", "--json"),
  );
  assert.ok((status.controlFaults["wrong-key"] ?? 0) > 0);
});

testIf(
  netlabMissing,
  "a lender that is not there is named, and one that refuses says why",
  async () => {
    await using world = await twoMachines();
    const { lender, borrower } = world;
    await shareLink(world);
    assert.match(await borrower.fails(4, ...request()), /Cannot reach 192\.168\.1\.100:51820/);
    await lender.startDaemon("--dry-run");
    const memory = await borrower.fails(5, ...request("--memory", "4000G"));
    assert.match(memory, /refuses: Cannot lend 4096000 MiB of memory: \d+ MiB of \d+ MiB are free/);
    assert.match(memory, /Next: Ask with --memory \d+ or less/);
    assert.match(await borrower.fails(5, ...request("--memory", "96")), /256 MiB is the least/);
    assert.match(await borrower.ok("vm", "list"), /No VM is borrowed/);
    await lender.stopDaemon();
    await lender.startDaemon("--no-lend");
    assert.match(await borrower.fails(5, ...request()), /it does not lend/);
  },
);

testIf(netlabMissing, "options and names that are wrong end with exit code 2", async () => {
  await using world = await twoMachines();
  const { borrower } = world;
  const fails = (...args: string[]): Promise<string> => borrower.fails(2, ...args);
  assert.match(await fails(...request("--memory", "many")), /--memory 'many': want MiB/);
  assert.match(await fails(...request("--cpu", "0")), /--cpu '0': want a whole number/);
  assert.match(await fails("vm", "request"), /required option '--provider/);
  assert.match(await fails("vm", "request", "--provider", "a b"), /Cannot use host 'a b'/);
  assert.match(await fails("vm", "request", "--provider", LENDER, "--name", "A_B"), /--name 'A_B'/);
  assert.match(await fails("vm", "relase", "x"), /Did you mean release/);
  assert.match(await fails("vm", "release"), /want a name, or --all/);
  assert.match(await fails("vm", "release", "nobody"), /Cannot find a borrowed VM named 'nobody'/);
  assert.match(await fails("ssh", "nobody"), /Cannot find a borrowed VM named 'nobody'/);
  assert.match(await fails("key", "import", "omerta://connect?key=1"), /the key has 1 characters/);
});

testIf(netlabMissing, "two VMs that fit a prefix are both named", async () => {
  await using world = await twoMachines();
  const { borrower } = world;
  const vm = (id: string, name: string, address: string): BorrowedVm => ({
    ...{ id, name, address, host: LENDER, since: 1, dryRun: true },
    endpoint: { address: LENDER, port: 51820 },
    mode: "filtered",
    machine: "ab".repeat(32),
    network: "cd".repeat(32),
    wireguardKey: new Uint8Array(32).toBase64(),
    hostKey: "ssh-ed25519 AAAA x",
  });
  const vms = [
    vm("aa11aa11aa11aa11", "one", "10.0.0.2"),
    vm("aa22aa22aa22aa22", "two", "10.0.0.3"),
  ];
  await Deno.writeTextFile(borrower.paths.leases, JSON.stringify({ version: 1, vms }));
  const words = await borrower.fails(2, "vm", "release", "aa");
  assert.match(words, /Cannot choose a VM by 'aa': one \(aa11aa11aa11aa11\), two \(aa22/);
  assert.match(await borrower.fails(2, "vm", "release", ""), /Cannot find a VM by an empty name/);
});

testIf(netlabMissing, "a configuration that is damaged or open to others is refused", async () => {
  await using world = await twoMachines();
  const { lender } = world;
  const good = await Deno.readTextFile(lender.paths.config);
  await Deno.writeTextFile(lender.paths.config, good.slice(0, 100));
  assert.match(await lender.fails(2, "daemon"), /config\.json: it is not JSON/);
  await Deno.writeTextFile(lender.paths.config, good);
  await Deno.chmod(lender.paths.config, 0o644);
  assert.match(await lender.fails(2, "daemon"), /other users of this host can read the keys/);
  await Deno.remove(lender.paths.config);
  assert.match(await lender.fails(3, "daemon"), /Next: Run 'omerta init' first/);
});

testIf(netlabMissing, "a port in use is named, and nothing is left", async () => {
  await using world = await twoMachines();
  const { lender, lenderMachine } = world;
  const other = lenderMachine.spawn("nc", ["-u", "-l", "51820"]);
  const words = await lender.fails(1, "daemon");
  assert.match(words, /Cannot listen on UDP port 51820/);
  assert.match(words, /Next: .*--port/);
  assert.deepEqual(await lender.processes(), []);
  other.kill();
  await other.status;
});

testIf(netlabMissing, "no image is exit code 3 at the lender and 5 at the borrower", async () => {
  await using world = await twoMachines();
  await shareLink(world);
  await world.lender.startDaemon();
  const words = await world.borrower.fails(
    5,
    ...["vm", "request", "--provider", LENDER, "--name", "web"],
  );
  assert.match(words, /refuses: .*image/i);
  assert.match(await world.lender.fails(3, "vm", "boot-test"), /omerta image build/);
});
