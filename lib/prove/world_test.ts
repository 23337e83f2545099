import assert from "node:assert/strict";
import { testIf } from "../../tests/support/requires.ts";
import { netlabMissing } from "../../tests/netlab/netlab.ts";
import { libc } from "../../net/os/libc.ts";
import { NONCE } from "./_scene_fixture.ts";
import { ATTEMPTS } from "./attempts.ts";
import { runControls } from "./controls.ts";
import { rawFrame } from "./frames.ts";
import { markOf } from "./mark.ts";
import { ADDRESS, LENDER_CARD, World } from "./world.ts";

// The C library stays open for the life of the thread: opened here, it is no leak of a test.
libc();

const NOWHERE = { row: 0, frame: 0 };
const OPTIONS = { mac: 0x525400006402, lenderPort: 51820, borrowerPort: 40_001 };

testIf(netlabMissing, "N9: in the world every control holds, for every attempt", async () => {
  await using world = await World.create();
  const { places, unseen } = await runControls(world, world.scene(OPTIONS), ATTEMPTS);
  assert.deepEqual([...places], []);
  assert.deepEqual([...unseen].filter(([, count]) => count > 0), []);
  assert.equal(unseen.size, ATTEMPTS.length);
  assert.equal(world.lost, 0);
});

testIf(netlabMissing, "N9: targets that are gone, and eyes that are shut, are found", async () => {
  await using world = await World.create();
  await world.machine("neighbour").deleteAddress("eth0", `${ADDRESS.neighbour}/24`);
  await world.machine("lender").setLink(LENDER_CARD, "down");
  const scene = world.scene(OPTIONS);
  const some = ATTEMPTS.slice(0, 2);
  const { places, unseen } = await runControls(world, scene, some);
  for (const [place, words] of [["neighbour", "UDP"], ["internet", "TCP port 80"]] as const) {
    const faults = places.get(place) ?? [];
    assert.ok(faults.some((fault) => fault.includes(`does not answer ${words}`)), faults.join());
  }
  assert.ok(places.get("router")?.includes(`${ADDRESS.router} answers no ping`));
  assert.equal(places.get("borrower"), undefined, "the borrower is where it was");
  const counts = some.map((attempt) => attempt.frames(scene, () => markOf(NONCE, NOWHERE)).length);
  assert.deepEqual([...unseen.values()], counts);
});

testIf(netlabMissing, "World.watch() says on which machines a frame was seen", async () => {
  await using world = await World.create();
  const { seen } = world.watch(NONCE);
  const { link } = world.scene(OPTIONS);
  const frame = rawFrame(link, markOf(NONCE, { row: 3, frame: 4 }), 0x88b5, 0xffffffffffff);
  assert.equal(world.tap("lender").send(LENDER_CARD, [frame]), 1);
  world.look();
  assert.deepEqual([...seen.get(3)?.get(4) ?? []].sort(), ["lender", "neighbour", "router"]);
  assert.equal(seen.size, 1);
});
