import assert from "node:assert/strict";
import { netlabMissing } from "../netlab/netlab.ts";
import type { Home } from "../support/home.ts";
import { testIf } from "../support/requires.ts";
import { LENDER, shareLink, type TwoMachines, twoMachines } from "../support/two_machines.ts";

const request = (name: string, ...more: string[]): string[] => [
  "vm",
  "request",
  ...["--provider", LENDER, "--name", name, "--dry-run"],
  ...more,
];

/** Has the lender run, and the borrower have its link. @returns What the lender prints. */
async function startLending(world: TwoMachines): Promise<string> {
  await world.lender.ok("lend", "set", "cpus", "16"); // this host may have one
  const welcome = await world.lender.startDaemon("--dry-run");
  await shareLink(world);
  return welcome;
}

async function peerOf(home: Home): Promise<string> {
  const { peer }: { peer: string } = JSON.parse(await home.ok("status", "--json"));
  return peer;
}

/** `HH:MM`, so many hours from now. */
function clockIn(hours: number): string {
  const at = new Date(Date.now() + hours * 3_600_000);
  const two = (value: number): string => String(value).padStart(2, "0");
  return `${two(at.getHours())}:${two(at.getMinutes())}`;
}

testIf(
  netlabMissing,
  "F9: a running lender takes peers off its lists and puts them on",
  async () => {
    await using world = await twoMachines();
    const { lender, borrower } = world;
    const welcome = await startLending(world);
    assert.doesNotMatch(welcome, /rules/, "there are none at first");
    const peer = await peerOf(borrower);
    await borrower.ok(...request("first"));

    assert.match(
      await lender.ok("lend", "deny", peer.slice(0, 8)),
      /may not borrow; VMs that it has/,
    );
    const denied = await borrower.fails(5, ...request("second"));
    assert.match(denied, new RegExp(`Cannot lend to peer ${peer}: it is denied \\(rule deny\\)`));
    assert.match(denied, new RegExp(`Next: Ask the lender for 'omerta lend allow ${peer}'`));
    assert.match(await lender.ok("vm", "list"), /first/, "what was lent before goes on");

    const allowed = await lender.run(["lend", "allow", peer]);
    assert.match(allowed.stderr, new RegExp(`${peer.slice(0, 8)} is denied, which is stronger`));
    await borrower.fails(5, ...request("second"));
    await lender.ok("lend", "forget", peer.slice(0, 8));
    await borrower.ok(...request("second"));

    await lender.ok("lend", "allow", "0123456789abcdef");
    const emptied = await lender.run(["lend", "forget", peer]);
    assert.doesNotMatch(emptied.stderr, /whoever has the link/);
    assert.match(await borrower.fails(5, ...request("third")), /allowed \(rule allow\)/);
    const last = await lender.run(["lend", "forget", "0123456789abcdef"]);
    assert.match(last.stderr, /whoever has the link can borrow/);
    await borrower.ok(...request("third"));
  },
);

testIf(netlabMissing, "F9: a running lender limits a VM, a borrower and its time", async () => {
  await using world = await twoMachines();
  const { lender, borrower } = world;
  await startLending(world);
  assert.match(
    await lender.ok("lend", "set", "vm-memory", "2G"),
    /vm-memory is 2048 MiB from the next request on/,
  );
  const memory = await borrower.fails(5, ...request("web", "--memory", "4G"));
  assert.match(memory, /refuses: Cannot lend 4096 MiB of memory: .* \(rule (vm-)?memory\)/);
  assert.match(memory, /Next: Ask with --memory \d+ or less/);

  await lender.ok("lend", "set", "vm-ttl", "4h");
  const ttl = await borrower.fails(5, ...request("web", "--memory", "512", "--ttl", "5h"));
  assert.match(ttl, /Cannot lend a VM for 5h: 4h is the longest \(rule vm-ttl\)/);
  assert.match(ttl, /Next: Ask with --ttl 4h or less/);
  await borrower.ok(...request("web", "--memory", "512", "--ttl", "4h"));

  await lender.ok("lend", "set", "borrower-vms", "1");
  const count = await borrower.fails(5, ...request("two", "--memory", "512", "--ttl", "4h"));
  assert.match(count, /1 of 1 are lent to peer [0-9a-f]{16} \(rule borrower-vms\)/);

  const status = await lender.ok("status");
  assert.match(
    status,
    /rules +1 VM to one borrower, a VM for 4h at the most, .* 2048 MiB of memory at the most\n/,
  );
  for (const rule of ["vm-memory", "vm-ttl", "borrower-vms"]) {
    await lender.ok("lend", "set", rule, "default");
  }
  assert.doesNotMatch(await lender.ok("status"), /rules/);
  await borrower.ok(...request("two", "--memory", "512"));

  await lender.ok("lend", "set", "reserve-memory", "1000G");
  const kept = await borrower.fails(5, ...request("three", "--memory", "512"));
  assert.match(
    kept,
    /0 MiB are free beside 1024000 MiB that the host keeps \(rule reserve-memory\)/,
  );
  assert.match(kept, /Next: Ask again later/);
});

testIf(netlabMissing, "F9: quiet hours refuse what is new and leave what runs", async () => {
  await using world = await twoMachines();
  const { lender, borrower } = world;
  await startLending(world);
  await borrower.ok(...request("before"));
  const until = clockIn(2);
  await lender.ok("lend", "quiet", `${clockIn(-1)}-${until}`);
  const words = await borrower.fails(5, ...request("now"));
  assert.match(
    words,
    new RegExp(`it is quiet until ${until} of the lender's time \\(rule quiet\\)`),
  );
  assert.match(words, new RegExp(`Next: Ask again after ${until} of the lender's time`));
  assert.match(await lender.ok("status"), new RegExp(`rules +quiet .* \\(now, until ${until}\\)`));
  assert.match(await borrower.ok("vm", "release", "before"), /Released before/);

  await lender.ok("lend", "quiet", `${clockIn(2)}-${clockIn(3)}`);
  await borrower.ok(...request("now"));
  await lender.stopDaemon();
  assert.match(await lender.startDaemon("--dry-run"), /rules +quiet \d\d:\d\d-\d\d:\d\d\n/);
  await lender.ok("lend", "quiet", "off");
  assert.match(await lender.ok("lend", "show"), /quiet +never/);
});

testIf(netlabMissing, "F9: omerta lend refuses what it does not know", async () => {
  await using world = await twoMachines();
  const { lender } = world;
  const before = await Deno.readTextFile(lender.paths.config);
  const fails = (...args: string[]): Promise<string> => lender.fails(2, "lend", ...args);
  assert.match(await fails("quiet", "22-7"), /Cannot set quiet hours '22-7': want HH:MM-HH:MM/);
  assert.match(await fails("quiet", "off", "22:00-07:00"), /Cannot set quiet hours/);
  assert.match(await fails("allow", "0123456"), /at least its first 8 characters/);
  assert.match(await fails("deny", "0123456789ABCDEF"), /Cannot set denied peer/);
  assert.match(await fails("forget", "01234567"), /it is on no list/);
  assert.match(await fails("set", "vm-memory", "lots"), /Cannot use vm-memory 'lots': want MiB/);
  assert.match(await fails("set", "vm-memory", "100"), /Cannot set vm-memory to '100'/);
  assert.match(await fails("set", "load", "1"), /Next: Use one of vms, cpus/);
  assert.equal(await Deno.readTextFile(lender.paths.config), before, "nothing was changed");
});

testIf(
  netlabMissing,
  "F9: a lender whose rules cannot be read lends nothing and says no more",
  async () => {
    await using world = await twoMachines();
    const { lender, borrower } = world;
    await startLending(world);
    const good = await Deno.readTextFile(lender.paths.config);
    await Deno.writeTextFile(lender.paths.config, good.replace('"lend"', '"lent"'));
    const words = await borrower.fails(5, ...request("web"));
    assert.match(words, /Cannot lend now: the lender's rules cannot be read/);
    assert.ok(!words.includes(lender.path), "a path of the lender's is nobody's business");
    assert.match(await lender.ok("status"), /lends +0 of 8 VMs/);
    assert.match(await lender.logs(), /Cannot read the rules/);
    await Deno.writeTextFile(lender.paths.config, good);
    await borrower.ok(...request("web"));
  },
);
