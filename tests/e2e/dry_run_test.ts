import assert from "node:assert/strict";
import { netlabMissing } from "../netlab/netlab.ts";
import { testIf } from "../support/requires.ts";
import { BORROWER, LENDER, shareLink, twoMachines } from "../support/two_machines.ts";

testIf(netlabMissing, "F6: a dry run goes the whole way between two machines", async () => {
  await using world = await twoMachines();
  const { lender, borrower } = world;
  const welcome = await lender.startDaemon("--dry-run");
  assert.match(welcome, /Mesh provider daemon started/);
  assert.match(
    welcome,
    new RegExp(`omerta://connect\\?key=[0-9a-f]{64}&host=${LENDER}&port=51820`),
  );
  const link = await shareLink(world);
  assert.ok(welcome.includes(link));

  const request = ["vm", "request", "--provider", LENDER, "--name", "web", "--dry-run"];
  const printed = await borrower.ok(...request);
  assert.match(printed, /Provider reachable: \d+ms latency/);
  assert.match(printed, /Dry run: the lender accepted/);

  const taken = await borrower.fails(2, ...request);
  assert.match(taken, /Cannot borrow a VM named 'web': there is one already/);

  assert.match(await borrower.ok("vm", "list"), /web +[0-9a-f]{16} +10\.0\.0\.2 .*dry run/);
  const lent = await lender.ok("vm", "list");
  assert.match(lent, new RegExp(`web +[0-9a-f]{16} .*${BORROWER.replaceAll(".", "\\.")}`));
  assert.equal(await lender.ok("vm", "alarms", "web"), "No alarm\n");
  assert.match(await lender.fails(1, "vm", "refused", "web"), /VM "web" .* it has no cable now/);
  assert.deepEqual(await lender.vmFolders(), []);

  assert.match(await borrower.ok("vm", "release", "web"), /Released web/);
  assert.match(await borrower.ok("vm", "list"), /No VM is borrowed/);
  assert.doesNotMatch(await lender.ok("vm", "list"), /web/);
  assert.equal(await borrower.hasTun(), false, "a dry run needs no TUN");

  assert.equal(await lender.stopDaemon(), 0);
  assert.match(await borrower.ok("daemon", "stop"), /The daemon has ended/);
  assert.deepEqual(await borrower.processes(), []);
  assert.deepEqual(await lender.processes(), []);

  const logs = await lender.logs() + await borrower.logs();
  assert.match(logs, /vm-accepted/);
  for (const secret of [...await lender.secrets(), ...await borrower.secrets()]) {
    assert.ok(!logs.includes(secret), "F8: a secret stands in a log");
  }
});

testIf(netlabMissing, "I2: the local key put in by hand works like the link", async () => {
  await using world = await twoMachines();
  const { lender, borrower } = world;
  await lender.startDaemon("--dry-run");
  const theirs: { localKey: string } = JSON.parse(await Deno.readTextFile(lender.paths.config));
  const mine: Record<string, unknown> = JSON.parse(await Deno.readTextFile(borrower.paths.config));
  mine["localKey"] = theirs.localKey;
  await Deno.writeTextFile(borrower.paths.config, JSON.stringify(mine));
  await borrower.ok("vm", "request", "--provider", LENDER, "--name", "a", "--dry-run");
  await borrower.ok("vm", "request", "--provider", `${LENDER}:51820`, "--name", "b", "--dry-run");
  const list: { borrowed: { address: string }[] } = JSON.parse(
    await borrower.ok("vm", "list", "--json"),
  );
  assert.deepEqual(list.borrowed.map(({ address }) => address), ["10.0.0.2", "10.0.0.3"]);
  assert.match(await borrower.ok("vm", "release", "--all"), /Released a\nReleased b/);
});

testIf(
  netlabMissing,
  "F6: the daemon starts, answers, restarts and stops in the background",
  async () => {
    await using world = await twoMachines();
    const { lender } = world;
    assert.match(await lender.fails(1, "daemon", "status") + "", /^$/);
    assert.match(await lender.ok("daemon", "start", "--dry-run"), /process \d+, UDP port 51820/);
    assert.match(await lender.ok("daemon", "status"), /lends +0 of 8 VMs/);
    assert.match(await lender.fails(2, "daemon"), /one is running \(process \d+\)/);
    const before: { pid: number } = JSON.parse(await lender.ok("status", "--json"));
    await lender.ok("daemon", "restart", "--port", "51821", "--dry-run");
    const after: { pid: number; port: number } = JSON.parse(await lender.ok("status", "--json"));
    assert.notEqual(after.pid, before.pid);
    assert.equal(after.port, 51821);
    assert.match(await lender.ok("daemon", "stop"), /The daemon has ended/);
    assert.match(await lender.ok("daemon", "stop"), /No daemon runs/);
    assert.deepEqual(await lender.processes(), []);
  },
);
