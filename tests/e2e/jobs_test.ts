import assert from "node:assert/strict";
import { join } from "node:path";
import { netlabMissing } from "../netlab/netlab.ts";
import { testIf } from "../support/requires.ts";
import { LENDER, shareLink, twoMachines } from "../support/two_machines.ts";
import { until } from "../support/until.ts";

testIf(netlabMissing, "U7: a job that cannot be run gives its VM back and says why", async () => {
  await using world = await twoMachines();
  const { lender, borrower } = world;
  await shareLink(world);
  await lender.startDaemon("--dry-run");
  const words = await borrower.fails(5, "run", "--provider", LENDER, "--name", "one", "--", "true");
  assert.match(words, /^Released one\nError: Cannot run a job in one: .* a dry run$/m);

  // Two at once, of which the first has to start the daemon.
  await borrower.ok("daemon", "stop");
  const submit = ["submit", "--provider", LENDER, "--script", "true"];
  const ids = await Promise.all([borrower.ok(...submit), borrower.ok(...submit)]);
  const shown = (id: string): Promise<string> => borrower.ok("job", "show", id.trim());
  for (const id of ids) {
    await until(async () => /^state +failed$/m.test(await shown(id)), { what: "the job to end" });
    assert.match(await shown(id), /^error +Cannot run a job in .* a dry run$/m);
  }
  assert.match(await borrower.ok("job", "list"), /failed[^]*failed/);
  for (const home of [lender, borrower]) {
    assert.match(await home.ok("vm", "list"), /^No VM is borrowed\n$/);
  }
});

testIf(netlabMissing, "what is wrong with a job is said before a VM is borrowed", async () => {
  await using world = await twoMachines();
  const { borrower } = world;
  const run = (...args: string[]): Promise<string> =>
    borrower.fails(2, "run", "--provider", LENDER, ...args);
  const execute = (...args: string[]): Promise<string> =>
    borrower.fails(2, "execute", "--provider", LENDER, ...args);
  const missing = join(borrower.path, "none");
  assert.match(await run(), /missing required argument 'command'/);
  assert.match(await run("--input", missing, "--", "true"), /none': it is not there/);
  assert.match(await run("--output", "x:", "--", "true"), /want REMOTE or REMOTE:LOCAL/);
  assert.match(await run("--env", "1=2", "--", "true"), /--env '1=2': want NAME=VALUE/);
  assert.match(await run("--", "x".repeat(131_060)), /Cannot run the command: it has 1310/);
  assert.match(await execute(), /required option '--script/);
  assert.match(await execute("--script", `@${missing}`), /cannot read .*none/);
  assert.match(await execute("--script", "-"), /it has 0 bytes/);
  assert.match(await execute("--script", "x", "--language", "perl"), /choices are bash, python/);
  assert.match(await borrower.fails(2, "job", "show", "x"), /Cannot find a job 'x'/);
  assert.match(await borrower.ok("job", "list"), /^No job was submitted$/m);
});
