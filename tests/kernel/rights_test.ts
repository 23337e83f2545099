import assert from "node:assert/strict";
import { join } from "node:path";
import { NetLab, netlabMissing } from "../netlab/netlab.ts";
import { bpfMissing } from "../support/bpf.ts";
import { commandMissing, testIf } from "../support/requires.ts";

const missing = netlabMissing ?? bpfMissing ?? commandMissing("setpriv");
const PROGRAM = join(import.meta.dirname ?? ".", "_check.ts");
const CONFIG = join(import.meta.dirname ?? ".", "..", "..", "deno.json");
const DENO = ["run", "--quiet", "--no-check", "--no-prompt", "--allow-all", "--config", CONFIG];
const BORROWER = "192.168.1.7";

testIf(missing, "N14: a lender says what it lacks to filter in the kernel", async () => {
  await using lab = await NetLab.create();
  const lender = await lab.namespace("lender");
  const borrower = await lab.namespace("borrower");
  await lab.connect(lender, "192.168.1.100/24", borrower, `${BORROWER}/24`);
  await lab.connect(lender, "fd00::1/64", borrower, "fd00::2/64");
  const check = async (rights: string, to = BORROWER): Promise<string> => {
    const args = ["--bounding-set", rights, Deno.execPath(), ...DENO, PROGRAM, to];
    return (await lender.runChecked("setpriv", args)).stdout;
  };
  // The control: these rights are all that it takes.
  assert.equal(await check("-all,+net_admin,+bpf,+perfmon"), "it can");
  assert.equal(await check("-all,+net_admin,+sys_admin"), "it can");
  const cannot = "Cannot lend a VM in mode ebpf here: its daemon lacks";
  assert.equal(await check("-all,+bpf,+perfmon"), `${cannot} CAP_NET_ADMIN`);
  assert.equal(await check("-all,+net_admin"), `${cannot} CAP_PERFMON, CAP_BPF`);
  assert.equal(await check("-all"), `${cannot} CAP_NET_ADMIN, CAP_PERFMON, CAP_BPF`);
  assert.equal(
    await check("+all", "fd00::2"),
    "Cannot forward to [fd00::2]:51820 in the kernel: the address is not IPv4",
  );
  assert.match(
    await check("+all", "127.0.0.1"),
    /the route leads to this host itself, or nowhere$/,
  );
});
