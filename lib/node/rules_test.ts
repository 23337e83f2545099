import assert from "node:assert/strict";
import fc from "fast-check";
import { type LendRules, newConfig } from "../core/config.ts";
import type { PeerId } from "../core/ids.ts";
import { type AskedVm, describeRules, formatTtl, isListed, refusalOf } from "./rules.ts";
import type { Situation, UsedVm } from "./rules.ts";

const PEER = "0123456789abcdef" as PeerId;
const OTHER = "fedcba9876543210" as PeerId;
const NOON = { day: 4, minute: 720 };
const FIRST = newConfig(0).lend;
const LEND: LendRules = { ...FIRST, cpus: 4, memoryMiB: 4096, diskGiB: 40, vms: 2 };
const SMALL = { cpus: 1, memoryMiB: 1024, diskGiB: 10 };
const ASKED: AskedVm = { ...SMALL, peer: PEER, mode: "filtered" };
const USED: UsedVm = { ...SMALL, peer: OTHER, takenMiB: 1024 };
const HOST = { cpus: 8, memoryMiB: 16_384 };

interface Case {
  readonly lend?: Partial<LendRules>;
  readonly asked?: Partial<AskedVm>;
  readonly used?: readonly UsedVm[];
  readonly host?: Situation["host"];
  readonly time?: Situation["time"];
}

/** What a request is refused with: code, message and what to do; undefined when it is accepted. */
function refused(one: Case): string | undefined {
  const refusal = refusalOf({ ...LEND, ...one.lend }, { ...ASKED, ...one.asked }, {
    used: one.used ?? [],
    host: one.host ?? HOST,
    time: one.time ?? NOON,
  });
  return refusal && `${refusal.code}: ${refusal.message}. ${refusal.next}`;
}

Deno.test("refusalOf() lets in what fits to the last unit", () => {
  assert.equal(refused({ asked: { cpus: 4, memoryMiB: 4096, diskGiB: 40 } }), undefined);
  const rest = { cpus: 3, memoryMiB: 3072, diskGiB: 30 };
  assert.equal(refused({ asked: rest, used: [USED] }), undefined);
  const perVm = { cpus: 1, memoryMiB: 1024, diskGiB: 10, ttlSeconds: 60, ttlRequired: true };
  assert.equal(refused({ lend: { perVm }, asked: { ttlSeconds: 60 } }), undefined);
});

Deno.test("refusalOf() has nothing against anybody at any time unless told otherwise", () => {
  fc.assert(fc.property(
    fc.integer({ min: 0, max: 6 }),
    fc.integer({ min: 0, max: 1439 }),
    fc.array(fc.constant({ ...USED, peer: PEER }), { maxLength: 1 }),
    fc.option(fc.integer({ min: 60 }), { nil: undefined }),
    (day, minute, used, ttlSeconds) => {
      const host = { cpus: 0, memoryMiB: 0 };
      assert.equal(
        refused({ time: { day, minute }, used, asked: { ttlSeconds }, host }),
        undefined,
      );
    },
  ));
});

Deno.test.each<[string, Case]>([
  [
    "no-room: Cannot lend 4 of processors: 3 of 4 are free (rule cpus). Ask with --cpu 3 or less",
    { used: [USED], asked: { cpus: 4 } },
  ],
  [
    "no-room: Cannot lend 8192 MiB of memory: 4096 MiB of 4096 MiB are free (rule memory). " +
    "Ask with --memory 4096 or less",
    { asked: { memoryMiB: 8192 } },
  ],
  [
    "no-room: Cannot lend 41 GiB of disk: 0 GiB of 40 GiB are free (rule disk). Ask again later",
    { asked: { diskGiB: 41 }, used: [{ ...USED, diskGiB: 40 }] },
  ],
  [
    "no-room: Cannot lend one more VM: 2 of 2 are lent (rule vms). " +
    "Release a VM, or ask again later",
    { used: [USED, USED] },
  ],
  [
    "too-little-memory: Cannot lend a VM with 96 MiB of memory: 256 MiB is the least. " +
    "Ask with --memory 256 or more",
    { asked: { memoryMiB: 96 } },
  ],
  [
    "no-room: Cannot lend 512 MiB of memory: 96 MiB of 4096 MiB are free (rule memory). " +
    "Ask again later",
    { asked: { memoryMiB: 512 }, used: [{ ...USED, memoryMiB: 4000 }] },
  ],
  [
    `not-allowed: Cannot lend to peer ${PEER}: it is denied (rule deny). ` +
    `Ask the lender for 'omerta lend allow ${PEER}'`,
    { lend: { deny: [PEER], allow: [PEER] } },
  ],
  [
    "mode-forbidden: Cannot lend a VM in mode filtered: this lender allows conntrack, sampled " +
    "(rule modes). Ask with --mode conntrack, or ask the lender " +
    "for 'omerta lend set modes conntrack,sampled,filtered'",
    { lend: { modes: ["conntrack", "sampled"] } },
  ],
  [
    "mode-forbidden: Cannot lend a VM in mode direct: this lender allows filtered, conntrack, " +
    "sampled, ebpf (rule modes). Ask with --mode filtered, or ask the lender " +
    "for 'omerta lend set modes filtered,conntrack,sampled,ebpf,direct'",
    { asked: { mode: "direct" } },
  ],
  [
    "quiet-hours: Cannot lend a VM now: it is quiet at any time (rule quiet). " +
    "Ask the lender to change them",
    { lend: { quiet: ["00:00-24:00"] } },
  ],
  [
    "quiet-hours: Cannot lend a VM now: it is quiet until Sun 00:00 of the lender's time " +
    "(rule quiet). Ask again after Sun 00:00 of the lender's time",
    { lend: { quiet: ["thu-sat 00:00-24:00"] } },
  ],
])("F9: refusalOf() says '%s'", (words, one) => {
  assert.equal(refused(one), words);
});

Deno.test("F9: refusalOf() names the tightest bound, so what it suggests is accepted", () => {
  const perVm = { ttlRequired: false, memoryMiB: 2048 };
  const used = [{ ...USED, memoryMiB: 3072 }];
  assert.match(
    refused({ lend: { perVm }, asked: { memoryMiB: 4096 }, used }) ?? "",
    /1024 MiB of 4096 MiB are free \(rule memory\). Ask with --memory 1024 or less/,
  );
  const amount = fc.record({
    cpus: fc.integer({ min: 1, max: 6 }),
    memoryMiB: fc.integer({ min: 256, max: 6000 }),
    diskGiB: fc.integer({ min: 1, max: 50 }),
  });
  const kept = fc.record({
    cpus: fc.integer({ min: 0, max: 8 }),
    memoryMiB: fc.integer({ min: 0, max: 16_384 }),
  });
  fc.assert(fc.property(amount, amount, amount, kept, (asked, limit, lent, reserve) => {
    const lend = { perVm: { ...limit, ttlRequired: false }, reserve };
    const used = [{ ...lent, peer: OTHER, takenMiB: 0 }];
    let wanted: Partial<AskedVm> = asked;
    // One hint for each of three amounts at the most, then it is accepted or there is none left.
    for (let hints = 0; hints <= 3; hints++) {
      const words = refused({ lend, asked: wanted, used });
      if (words === undefined || words.endsWith("Ask again later")) return;
      const [, option, most] = /Ask with --(cpu|memory|disk) (\d+) or less$/.exec(words) ?? [];
      assert.ok(option !== undefined, words);
      const field = { cpu: "cpus", memory: "memoryMiB", disk: "diskGiB" }[option] ?? "";
      wanted = { ...wanted, [field]: Number(most) };
    }
    assert.fail("it was refused although what was suggested was asked for");
  }));
});

Deno.test("F9: refusalOf() counts memory that guests have not taken yet as promised", () => {
  const lend = { ...LEND, memoryMiB: 100_000, reserve: { cpus: 0, memoryMiB: 1000 } };
  const host = { cpus: 8, memoryMiB: 4000 };
  const fresh = { ...USED, memoryMiB: 2000, takenMiB: 100 };
  assert.match(
    refused({ lend, host, used: [fresh], asked: { memoryMiB: 1101 } }) ?? "",
    /1100 MiB are free beside 1000 MiB that the host keeps \(rule reserve-memory\)/,
  );
  const settled = { ...fresh, takenMiB: 2000 };
  assert.equal(refused({ lend, host, used: [settled], asked: { memoryMiB: 3000 } }), undefined);
  assert.match(
    refused({ lend, host: { cpus: 8, memoryMiB: 500 } }) ?? "",
    / 0 MiB are free beside/,
  );
});

const hex = fc.stringMatching(/^[0-9a-f]{16}$/);

Deno.test("isListed() is true for ids that begin as an entry does, and for no others", () => {
  fc.assert(fc.property(hex, fc.array(hex), fc.integer({ min: 8, max: 16 }), (id, list, length) => {
    const peer = id as PeerId;
    const prefixes = list.map((entry) => entry.slice(0, length));
    const expected = list.some((entry) => entry.slice(0, length) === id.slice(0, length));
    assert.equal(isListed(prefixes, peer), expected);
    assert.equal(isListed([...prefixes, id.slice(0, length)], peer), true);
  }));
});

Deno.test("refusalOf() does not depend on the order of any list", () => {
  const peers = fc.array(fc.constantFrom(PEER.slice(0, 8), OTHER, "0000000000000000"));
  const quiet = fc.array(
    fc.constantFrom("22:00-07:00", "sat,sun 00:00-24:00", "07:00-08:30", "wed 23:00-22:00"),
  );
  const used = fc.array(
    fc.record({
      peer: fc.constantFrom(PEER, OTHER),
      cpus: fc.integer({ min: 1, max: 3 }),
      memoryMiB: fc.integer({ min: 256, max: 3000 }),
      diskGiB: fc.integer({ min: 1, max: 30 }),
      takenMiB: fc.integer({ min: 0, max: 3000 }),
    }),
    { maxLength: 3 },
  );
  const time = fc.record({
    day: fc.integer({ min: 0, max: 6 }),
    minute: fc.integer({ min: 0, max: 1439 }),
  });
  fc.assert(fc.property(peers, peers, quiet, used, time, (allow, deny, quiet, used, time) => {
    const lend = { perBorrower: 2, vms: 3, reserve: { cpus: 1, memoryMiB: 100 } };
    assert.equal(
      refused({ lend: { ...lend, allow, deny, quiet }, used, time }),
      refused({
        lend: {
          ...lend,
          ...{ allow: allow.toReversed(), deny: deny.toReversed(), quiet: quiet.toReversed() },
        },
        used: used.toReversed(),
        time,
      }),
    );
  }));
});

Deno.test("describeRules() has words for each rule, and none when there are none", () => {
  assert.deepEqual(describeRules(FIRST, NOON), []);
  const perVm = { cpus: 2, memoryMiB: 2048, diskGiB: 10, ttlSeconds: 5400, ttlRequired: true };
  assert.deepEqual(
    describeRules({
      ...FIRST,
      perVm,
      allow: ["01234567", "12345678", "23456789", "3456789a"],
      deny: [PEER],
      quiet: ["11:00-13:00"],
      perBorrower: 2,
      modes: ["filtered", "conntrack"],
      reserve: { cpus: 1, memoryMiB: 4096 },
      rogue: { ...FIRST.rogue, action: "end" },
      tunnelTimeoutSeconds: 300,
    }, NOON),
    [
      `not to ${PEER}`,
      "only to 4 peers",
      "quiet 11:00-13:00 (now, until 13:00)",
      "2 VMs to one borrower",
      "only in mode filtered or conntrack",
      "a VM for 90m at the most",
      "a VM has 2 processors at the most",
      "a VM has 2048 MiB of memory at the most",
      "a VM has 10 GiB of disk at the most",
      "1 processors are kept",
      "4096 MiB of memory are kept",
      "a VM that is called rogue is ended",
      "a VM without its tunnel is ended after 5m",
    ],
  );
  assert.deepEqual(describeRules({ ...FIRST, tunnelTimeoutSeconds: null }, NOON), [
    "a VM without its tunnel goes on",
  ]);
  assert.deepEqual(describeRules({ ...FIRST, modes: [...FIRST.modes, "direct"] }, NOON), [
    "a VM in mode direct reaches this host and its network",
  ]);
});

Deno.test("formatTtl() uses the largest unit that it is whole in", () => {
  assert.deepEqual([60, 90, 5400, 14_400, 172_800].map(formatTtl), [
    "1m",
    "90s",
    "90m",
    "4h",
    "2d",
  ]);
});
