import assert from "node:assert/strict";
import { NetLab, netlabMissing } from "./netlab.ts";
import { exists } from "../../lib/core/files.ts";
import { commandMissing, testIf } from "../support/requires.ts";
import { until } from "../support/until.ts";

const pingMissing = netlabMissing ?? commandMissing("ping");
const PING = ["-c", "1", "-W", "1"];

testIf(pingMissing, "NetLab.connect() joins two namespaces over IPv4 and IPv6", async () => {
  await using lab = await NetLab.create();
  const a = await lab.namespace("a");
  const b = await lab.namespace("b");
  assert.deepEqual(await lab.connect(a, "192.168.1.100/24", b, "192.168.1.101/24", { mtu: 1420 }), {
    a: "eth0",
    b: "eth0",
  });
  await lab.connect(a, "fd00::1/64", b, "fd00::2/64");
  await a.runChecked("ping", [...PING, "192.168.1.101"]);
  await b.runChecked("ping", [...PING, "fd00::1"]);
  await a.runChecked("ping", [...PING, "127.0.0.1"]);
  assert.match((await b.runChecked("ip", ["link", "show", "eth0"])).stdout, /mtu 1420/);
  assert.match((await b.runChecked("ip", ["link", "show", "eth1"])).stdout, /mtu 1500/);
});

testIf(pingMissing, "NetLab.router() forwards between its cables", async () => {
  await using lab = await NetLab.create();
  const inside = await lab.namespace("inside");
  const router = await lab.router("router");
  const outside = await lab.namespace("outside");
  await lab.connect(inside, "10.1.0.2/24", router, "10.1.0.1/24");
  await lab.connect(router, "10.2.0.1/24", outside, "10.2.0.2/24");
  await inside.route("add", "default", "via", "10.1.0.1");
  assert.notEqual((await inside.run("ping", [...PING, "10.2.0.2"])).code, 0);
  await outside.route("add", "10.1.0.0/24", "via", "10.2.0.1");
  await inside.runChecked("ping", [...PING, "10.2.0.2"]);
});

testIf(
  pingMissing,
  "Namespace.setLink(), addAddress() and deleteAddress() take effect",
  async () => {
    await using lab = await NetLab.create();
    const a = await lab.namespace("a");
    const b = await lab.namespace("b");
    await lab.connect(a, "192.168.1.100/24", b, "192.168.1.101/24");
    await b.setLink("eth0", "down");
    assert.notEqual((await a.run("ping", [...PING, "192.168.1.101"])).code, 0);
    await b.setLink("eth0", "up");
    await a.runChecked("ping", [...PING, "192.168.1.101"]);
    await b.addAddress("eth0", "192.168.1.102/24");
    await b.deleteAddress("eth0", "192.168.1.101/24");
    assert.notEqual((await a.run("ping", [...PING, "192.168.1.101"])).code, 0);
  },
);

testIf(netlabMissing, "NetLab ends what runs in its namespaces, and their children", async () => {
  let name = "";
  let pids: number[] = [];
  {
    await using lab = await NetLab.create();
    const namespace = await lab.namespace("busy");
    name = namespace.name;
    // The shell ignores SIGTERM and leaves a child behind: both go all the same.
    const child = namespace.spawn("sh", ["-c", "trap '' TERM; sleep 600 & sleep 600; wait"]);
    pids = await until(async () => {
      const found = await namespace.processes();
      return found.length === 3 && found;
    }, { what: "the shell and its two children" });
    assert.ok(pids.includes(child.pid), "the child's process id is the program's own");
  }
  for (const pid of pids) {
    await until(async () => !await exists(`/proc/${pid}`), { what: `process ${pid} to be gone` });
  }
  assert.equal(await exists(`/run/netns/${name}`), false);
});

testIf(netlabMissing, "NetLab.create() takes away what a killed test left", async () => {
  const netlab = import.meta.resolve("./netlab.ts");
  const script = `
    const { NetLab } = await import(${JSON.stringify(netlab)});
    const left = await (await NetLab.create()).namespace("left");
    left.spawn("sleep", ["600"], { stdout: "null" });
    console.log(left.name);
    Deno.kill(Deno.pid, "SIGKILL");`;
  const { stdout } = await new Deno.Command(Deno.execPath(), {
    args: ["eval", script],
    stdin: "null",
    stderr: "null",
  }).output();
  const name = new TextDecoder().decode(stdout).trim();
  assert.match(name, /^omlab-.*-left$/);
  assert.equal(await exists(`/run/netns/${name}`), true);
  await using _lab = await NetLab.create();
  assert.equal(await exists(`/run/netns/${name}`), false);
});

testIf(netlabMissing, "NetLab.create() leaves a lab of a living owner alone", async () => {
  await using first = await NetLab.create();
  const kept = await first.namespace("kept");
  await using _second = await NetLab.create();
  await kept.runChecked("true", []);
});
