import assert from "node:assert/strict";
import { testIf } from "../../support/requires.ts";
import { forwardersMissing } from "../filter.ts";
import { Forwarders } from "./forwarders.ts";
import { TOUCH } from "./generator.ts";

testIf(
  forwardersMissing,
  "B1: Forwarders.startAll() carries a burst both ways through Omerta, passt and slirp4netns",
  async () => {
    await using forwarders = await Forwarders.create();
    await forwarders.startAll();
    const found = await forwarders.generate("touch", 60_000);
    const carried = found.map(({ forwarder, name, value }) => `${forwarder} ${name} ${value}`);
    assert.deepEqual(
      carried.filter((line) => line.includes("arrived")).toSorted(),
      ["omerta", "omerta", "passt", "passt", "slirp4netns", "slirp4netns"].flatMap((name) => [
        `${name} arrived at the far end ${TOUCH}`,
        `${name} arrived at the guest ${TOUCH}`,
      ]).toSorted(),
    );
  },
);
