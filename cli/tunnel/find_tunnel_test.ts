import assert from "node:assert/strict";
import type { TunnelsView, TunnelView } from "../../lib/api/tunnel_schemas.ts";
import type { JobRecord } from "../job/job_store.ts";
import { tunnelOfJob, tunnelsOfVm, tunnelTo } from "./find_tunnel.ts";

const tunnel = (
  role: TunnelView["role"],
  id: string,
  name: string,
  address: string,
): TunnelView => ({
  ...{ role, id, name, with: "192.168.1.100", address, localAddress: null, endpoint: null },
  ...{
    fromVm: 0,
    toVm: 0,
    lastHandshake: null,
    keepaliveSeconds: null,
    client: null,
    server: null,
  },
  state: "up",
});

const VIEW: TunnelsView = {
  device: "omerta0",
  tunnels: [
    tunnel("borrowed", "aa11", "web", "10.0.0.2"),
    tunnel("borrowed", "ab22", "db", "10.0.0.3"),
    tunnel("lent", "cc33", "web", "10.0.0.2"),
    tunnel("lent", "dd44", "job-vm", "10.0.0.9"),
  ],
};

const job = (name: string, state: JobRecord["state"]): JobRecord => ({
  ...{ version: 1, id: "01234567", description: "", state, created: 0, dropped: 0 },
  spec: {
    request: {
      ...{ provider: "192.168.1.100", name, cpus: 1, memoryMiB: 1024, diskGiB: 10 },
      ...{ wait: true, dryRun: false },
    },
    work: { kind: "command", words: ["true"] },
    ...{ env: [], inputs: [], outputs: [] },
  },
});

Deno.test("W5: tunnelsOfVm() takes a name, which may be on both sides, or a beginning of an id", () => {
  assert.deepEqual(tunnelsOfVm(VIEW, "web").map(({ id }) => id), ["aa11", "cc33"]);
  assert.deepEqual(tunnelsOfVm(VIEW, "ab").map(({ id }) => id), ["ab22"]);
  for (const no of ["", "none"]) {
    assert.throws(() => tunnelsOfVm(VIEW, no), { code: "unknown-vm", exit: 2 });
  }
});

Deno.test("W5: tunnelOfJob() finds the VM that is borrowed for the job, not one that is lent", () => {
  assert.equal(tunnelOfJob(VIEW, job("db", "running")).id, "ab22");
  assert.throws(() => tunnelOfJob(VIEW, job("job-vm", "starting")), { code: "no-vm", exit: 4 });
});

Deno.test.each(["done", "failed", "stopped", "died"] as const)(
  "W5: tunnelOfJob() says of a job that is %s that its VM is gone",
  (state) => {
    assert.throws(() => tunnelOfJob(VIEW, job("web", state)), { code: "job-over", exit: 1 });
  },
);

Deno.test("W5: tunnelTo() finds a borrowed VM by its exact address and names what there is", () => {
  assert.equal(tunnelTo(VIEW, "10.0.0.3").name, "db");
  assert.throws(() => tunnelTo(VIEW, "10.0.0.9"), {
    ...{ code: "no-tunnel", exit: 2, next: "There are: 10.0.0.2 (web), 10.0.0.3 (db)" },
  });
  assert.throws(() => tunnelTo(VIEW, "10.0.0.1"), { message: /this node's own end/ });
});
