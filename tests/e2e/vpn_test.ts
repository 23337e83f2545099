import assert from "node:assert/strict";
import { join } from "node:path";
import { netlabMissing } from "../netlab/netlab.ts";
import { exists } from "../../lib/core/files.ts";
import { testIf } from "../support/requires.ts";
import { LENDER, shareLink, twoMachines } from "../support/two_machines.ts";
import { until } from "../support/until.ts";

testIf(netlabMissing, "W5, W6: vpn shows what there is, and says what there is not", async () => {
  await using world = await twoMachines();
  const { lender, borrower, borrowerMachine } = world;
  await lender.startDaemon("--dry-run");
  await shareLink(world);
  assert.match(await borrower.fails(4, "vpn", "status"), /none runs/);
  const request = async (name: string): Promise<string> => {
    const asked = ["vm", "request", "--provider", LENDER, "--dry-run", "--json", "--name", name];
    return JSON.parse(await borrower.ok(...asked)).address;
  };
  assert.deepEqual([await request("web"), await request("db")], ["10.0.0.2", "10.0.0.3"]);

  const table = await borrower.ok("vpn", "status");
  assert.match(table, /^ *VM +TUNNEL +WITH +ADDRESS +ENDPOINT +STATE/);
  assert.match(
    table,
    /web +borrowed +192\.168\.1\.100 +10\.0\.0\.1 - 10\.0\.0\.2 +dry run +0 B +0 B/,
  );
  assert.match(
    await lender.ok("vpn", "status", "--vm", "db"),
    /db +lent +[0-9a-f]{16} +10\.0\.0\.3/,
  );
  const view = JSON.parse(await borrower.ok("vpn", "status", "--json", "--vm", "db"));
  assert.equal(view.device, null);
  assert.deepEqual(
    view.tunnels.map(({ name, state, job }: Record<string, unknown>) => [name, state, job]),
    [["db", "dry-run", null]],
  );
  assert.match(await borrower.fails(2, "vpn", "status", "--vm", "x"), /There are: web, db/);
  assert.match(await borrower.fails(2, "vpn", "status", "--job-id", "0"), /Cannot find a job '0'/);
  await borrower.fails(2, "vpn", "status", "--vm", "web", "--job-id", "0");

  const probe = (address: string, ...more: string[]): string[] => [
    ...["vpn", "test", "--server-ip", address, ...more],
  ];
  assert.match(await borrower.fails(2, ...probe("10.0.0.9")), /10\.0\.0\.2 \(web\), 10\.0\.0\.3/);
  assert.match(await borrower.fails(2, ...probe("10.0.0.1")), /this node's own end/);
  assert.match(await borrower.fails(2, ...probe("10.0.0.2")), /it is a dry run/);
  await borrower.fails(2, ...probe("10.0.0.2", "--count", "0"));
  await borrower.fails(2, ...probe("10.0.0.2", "--count", "10001"));

  const out = join(borrower.path, "..", "web.conf");
  assert.match(await borrower.fails(2, "vpn", "config", "web", "--out", out), /it is a dry run/);
  assert.equal(await exists(out), false);
  assert.match(await borrower.fails(2, "vpn", "config", "web", "--out", "a b"), /want a name of 1/);
  assert.match(await borrower.fails(2, "vpn", "config", "web", "--remove"), /it has none/);

  // W6: an address is free again with its VM, and nothing of the VM stays.
  await borrower.ok("vm", "release", "web");
  for (const home of [borrower, lender]) {
    assert.doesNotMatch(await home.ok("vpn", "status"), /web/);
  }
  assert.equal(await request("again"), "10.0.0.2");

  // A daemon that finds what it has borrowed and cannot make the interface, whose name is taken, goes
  // on with its own stack; the VM has never been there.
  await borrower.ok("daemon", "stop");
  const leases = JSON.parse(await Deno.readTextFile(borrower.paths.leases));
  for (const vm of leases.vms) vm.dryRun = false;
  await Deno.writeTextFile(borrower.paths.leases, JSON.stringify(leases));
  await borrowerMachine.runChecked("ip", ["tuntap", "add", "dev", "omerta0", "mode", "tun"]);
  await borrower.ok("daemon", "start", "--no-lend");
  assert.match(await borrower.ok("vpn", "status", "--vm", "db"), / no handshake /);
  assert.match(await borrower.ok("status"), /^ {2}interface userspace \(.*omerta0/m);
  const silent = ["--count", "1", "--timeout", "1s"];
  assert.match(await borrower.fails(4, ...probe("10.0.0.3", ...silent)), /No packet comes/);
  await borrower.fails(4, "ping", "db", ...silent);
});

testIf(
  netlabMissing,
  "U7: --vpn-config is read before a VM is borrowed, and a job's end is told",
  async () => {
    await using world = await twoMachines();
    const { lender, borrower } = world;
    await lender.startDaemon("--dry-run");
    await shareLink(world);
    const file = join(borrower.path, "..", "vpn.conf");
    const execute = ["execute", "--provider", LENDER, "--script", "true", "--vpn-config", file];
    assert.match(await borrower.fails(2, ...execute), /Cannot use --vpn-config .*: cannot read it/);
    await Deno.writeTextFile(file, "[Interface]\nPostUp = rm -rf /\n");
    assert.match(
      await borrower.fails(2, ...execute),
      /line 2: PostUp is not a word of \[Interface\]/,
    );
    assert.match(await lender.ok("vpn", "status"), /^There is no tunnel/);

    const submit = ["submit", "--provider", LENDER, "--script", "true"];
    const id = (await borrower.ok(...submit)).trim();
    await until(async () => /^state +failed$/m.test(await borrower.ok("job", "show", id)), {
      timeoutMs: 60_000,
      what: "the job to end",
    });
    const words = await borrower.fails(1, "vpn", "status", "--job-id", id);
    assert.match(words, new RegExp(`job ${id}: it has ended \\(failed\\), its VM is gone`));
  },
);
