import assert from "node:assert/strict";
import { OmertaError } from "../core/errors.ts";
import { newVmId } from "../core/ids.ts";
import { TunnelEnd } from "./tunnel_end.ts";

/** A data plane that opens what it is told to. */
class FakePlane {
  readonly asked: string[] = [];
  fault: string | undefined;
  line: string | undefined;

  openStack(address: string): Promise<void> {
    this.asked.push(`stack ${address}`);
    return Promise.resolve();
  }

  openProxy(id: string): Promise<number> {
    this.asked.push(`proxy ${id}`);
    return Promise.resolve(0);
  }

  openTun({ name }: { readonly name: string }): Promise<void> {
    this.asked.push(`tun ${name}`);
    return this.fault === undefined
      ? Promise.resolve()
      : Promise.reject(new OmertaError(this.fault, "Cannot make interface omerta0"));
  }

  setNames(names: readonly (readonly [string, string])[]): Promise<void> {
    this.asked.push(names.map((pair) => pair.join("=")).join(" "));
    return Promise.resolve();
  }

  greeting(): Promise<string | undefined> {
    return this.fault === "greeting-failed"
      ? Promise.reject(new OmertaError(this.fault, "Cannot connect"))
      : Promise.resolve(this.line);
  }
}

const never = new AbortController().signal;

Deno.test("open() opens stack and device once", async () => {
  const plane = new FakePlane();
  const end = new TunnelEnd(plane, "/pipe");
  assert.deepEqual(end.state, { kind: "none" });
  await Promise.all([end.open(), end.open()]);
  await end.open();
  assert.deepEqual(plane.asked, ["stack 10.0.0.1", "proxy pipe", "tun omerta0"]);
  assert.deepEqual(end.state, { kind: "device", name: "omerta0" });
});

for (const fault of ["tun-needs-root", "tun-missing", "interface-in-use"]) {
  Deno.test(`open() goes on with the stack on ${fault}, and tries the device again`, async () => {
    const plane = new FakePlane();
    plane.fault = fault;
    const end = new TunnelEnd(plane, "/pipe");
    await end.open();
    assert.deepEqual(end.state, { kind: "userspace", why: "Cannot make interface omerta0" });
    plane.fault = undefined;
    await end.open();
    assert.deepEqual(end.state, { kind: "device", name: "omerta0" });
    assert.deepEqual(plane.asked, ["stack 10.0.0.1", "proxy pipe", "tun omerta0", "tun omerta0"]);
  });
}

Deno.test("open() fails when the device cannot be set up", async () => {
  const plane = new FakePlane();
  plane.fault = "interface-failed";
  const end = new TunnelEnd(plane, "/pipe");
  await assert.rejects(end.open(), { code: "interface-failed" });
  assert.deepEqual(end.state, { kind: "none" });
});

Deno.test("setNames() makes name, name.omerta and id lead to a VM, but not to a dry run", async () => {
  const plane = new FakePlane();
  const [id, other] = [newVmId(), newVmId()];
  await new TunnelEnd(plane, "/pipe").setNames([
    { id, name: "web", address: "10.0.0.2", dryRun: false },
    { id: other, name: "db", address: "10.0.0.3", dryRun: true },
  ]);
  assert.deepEqual(plane.asked, [`web=10.0.0.2 web.omerta=10.0.0.2 ${id}=10.0.0.2`]);
});

Deno.test("sshBanner() asks by the stack where there is no device, and takes only a banner", async () => {
  const plane = new FakePlane();
  plane.fault = "tun-needs-root";
  const end = new TunnelEnd(plane, "/pipe");
  await end.open();
  plane.line = "SSH-2.0-OpenSSH_9.2";
  assert.equal(await end.sshBanner("10.0.0.2", never), "SSH-2.0-OpenSSH_9.2");
  for (const no of [undefined, "", "HTTP/1.1 400", "SSH-\u0007"]) {
    plane.line = no;
    assert.equal(await end.sshBanner("10.0.0.2", never), undefined);
  }
  plane.fault = "greeting-failed";
  assert.equal(await end.sshBanner("10.0.0.2", never), undefined);
});
