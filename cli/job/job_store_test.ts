import assert from "node:assert/strict";
import { join } from "node:path";
import { startTimeOf } from "../../lib/core/process.ts";
import { isOver, JobStore, MAX_JOBS } from "./job_store.ts";
import type { JobSpec } from "./spec.ts";

const SPEC: JobSpec = {
  request: {
    ...{ provider: "192.0.2.1", name: "vm", cpus: 1, memoryMiB: 1024, diskGiB: 10 },
    ...{ wait: true, dryRun: false },
  },
  work: { kind: "script", language: "bash", text: "true" },
  env: [["A", "b"]],
  inputs: ["/a"],
  outputs: [{ remote: "b", local: "/c" }],
};

async function withStore(body: (store: JobStore, folder: string) => Promise<void>): Promise<void> {
  const folder = await Deno.makeTempDir({ prefix: "omerta-jobs-" });
  try {
    await body(new JobStore(join(folder, "jobs")), join(folder, "jobs"));
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
}

Deno.test("JobStore keeps a job for its user only and finds it by a beginning of its id", async () => {
  await withStore(async (store, folder) => {
    assert.deepEqual(await store.list(), []);
    const job = await store.add(SPEC, "what it is", Date.now());
    assert.deepEqual(await store.find(job.id.slice(0, 6)), job);
    assert.deepEqual(await store.list(), [job]);
    assert.equal(((await Deno.stat(store.folderOf(job.id))).mode ?? 0) & 0o777, 0o700);
    for (const name of ["job.json", "log", "stdout", "stderr"]) {
      const { mode } = await Deno.stat(join(folder, job.id, name));
      assert.equal((mode ?? 0) & 0o777, 0o600, name);
    }
    await assert.rejects(store.find("nothing"), { code: "unknown-job", exit: 2 });
    await assert.rejects(store.find(""), { code: "unknown-job" });
    await Deno.writeTextFile(join(folder, job.id, "job.json"), "{");
    await assert.rejects(store.find(job.id), { code: "job-damaged" });
    assert.deepEqual(await store.list(), []);
  });
});

Deno.test("JobStore says that a job has died when its process is gone", async () => {
  await withStore(async (store) => {
    const now = Date.now();
    const job = await store.add(SPEC, "", now);
    const started = await startTimeOf(Deno.pid) ?? "";
    const state = async (): Promise<string> => (await store.find(job.id)).state;
    await store.write({ ...job, state: "running", process: { pid: Deno.pid, started } });
    assert.equal(await state(), "running");
    // The same process id, but of another process.
    await store.write({ ...job, state: "running", process: { pid: Deno.pid, started: "1" } });
    assert.equal(await state(), "died");
    await store.write({ ...job, created: now - 3_600_000 });
    assert.equal(await state(), "died", "its process was never there");
    await store.write({ ...job, state: "done", exitCode: 0, created: now - 3_600_000 });
    assert.equal(await state(), "done");
  });
});

Deno.test("JobStore makes room by the job that ended first and refuses when none has", async () => {
  await withStore(async (store) => {
    const now = Date.now();
    const jobs = [];
    for (let i = 0; i < MAX_JOBS; i++) jobs.push(await store.add(SPEC, "", now + i));
    await assert.rejects(store.add(SPEC, "", now), { code: "too-many-jobs" });
    const [first, second] = jobs;
    assert.ok(first && second);
    await store.write({ ...first, state: "done", exitCode: 0, ended: now + 9 });
    await store.write({ ...second, state: "stopped", ended: now + 5 });
    const added = await store.add(SPEC, "new", now + 500);
    const left = await store.list();
    assert.equal(left.length, MAX_JOBS);
    assert.ok(left.some(({ id }) => id === added.id) && left.some(({ id }) => id === first.id));
    assert.ok(!left.some(({ id }) => id === second.id));
    assert.equal(left.filter(isOver).length, 1);
  });
});
