import assert from "node:assert/strict";
import { join } from "node:path";
import { type BorrowedVm, LeaseStore } from "./lease_store.ts";

const vm = (id: string, name: string): BorrowedVm => ({
  id: id.padEnd(16, "0"),
  name,
  host: "192.168.1.100",
  endpoint: { address: "192.168.1.100", port: 51820 },
  machine: "ab".repeat(32),
  network: "cd".repeat(32),
  address: "10.0.0.2",
  wireguardKey: `${"A".repeat(43)}=`,
  hostKey: "ssh-ed25519 AAAA web",
  since: 1,
  mode: "filtered",
  dryRun: false,
});

async function withFile(body: (path: string) => Promise<void>): Promise<void> {
  const folder = await Deno.makeTempDir();
  try {
    await body(join(folder, "leases.json"));
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
}

Deno.test("LeaseStore keeps its VMs over a restart", () =>
  withFile(async (path) => {
    const store = await LeaseStore.load(path);
    await store.put(vm("aa", "web"));
    await store.put(vm("bb", "db"));
    await store.remove(vm("aa", "web").id);
    assert.deepEqual((await LeaseStore.load(path)).list(), [vm("bb", "db")]);
  }));

Deno.test("find() takes names and unique prefixes of ids", () =>
  withFile(async (path) => {
    const store = await LeaseStore.load(path);
    await assert.rejects(() => Promise.try(() => store.find("web")), {
      code: "unknown-vm",
      exit: 2,
    });
    await store.put(vm("aa11", "web"));
    await store.put(vm("aa22", "db"));
    await store.put(vm("cc33", "aa"));
    assert.equal(store.find("web").name, "web");
    assert.equal(store.find("aa1").name, "web");
    assert.equal(store.find("aa").name, "aa", "a name comes before a prefix");
    assert.throws(() => store.find("a"), {
      code: "ambiguous-vm",
      message: /web \(aa11000000000000\), db \(aa22/,
    });
    assert.throws(() => store.find("zz"), { code: "unknown-vm", next: "There are: web, db, aa" });
  }));

Deno.test("L10: find() takes the address in the tunnel, and NAME.omerta", () =>
  withFile(async (path) => {
    const store = await LeaseStore.load(path);
    await store.put(vm("aa", "web"));
    await store.put({ ...vm("bb", "db"), address: "10.0.0.3" });
    assert.equal(store.find("10.0.0.3").name, "db");
    assert.equal(store.find("web.omerta").name, "web");
    for (const text of ["10.0.0.4", "10.0.0", "db.omert"]) {
      assert.throws(() => store.find(text), { code: "unknown-vm" });
    }
  }));

Deno.test("LeaseStore keeps a damaged file aside and says where", () =>
  withFile(async (path) => {
    await Deno.writeTextFile(path, "{ damaged");
    await assert.rejects(LeaseStore.load(path), {
      code: "leases-damaged",
      message: /leases\.json\.damaged-\d+/,
    });
    assert.deepEqual((await LeaseStore.load(path)).list(), []);
  }));
