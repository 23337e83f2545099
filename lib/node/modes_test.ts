import assert from "node:assert/strict";
import { FILTER_MODES } from "../../net/filter/strategy.ts";
import { ShutdownNotice } from "./messages.ts";
import { violationReason } from "./modes.ts";

Deno.test("N8: violationReason() names frame and mode, and always fits a notice", () => {
  assert.equal(
    violationReason("conntrack", "UDP 192.168.100.2:40000 > 8.8.8.8:53 len 5 (destination)"),
    "it sent UDP 192.168.100.2:40000 > 8.8.8.8:53 len 5 (destination), which mode conntrack ends " +
      "a VM for",
  );
  for (const mode of FILTER_MODES) {
    ShutdownNotice.parse({ vms: [], reason: violationReason(mode, "x".repeat(5000)) });
  }
});
