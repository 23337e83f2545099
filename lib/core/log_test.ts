import assert from "node:assert/strict";
import { join } from "node:path";
import { EventLog, logger, startLogging } from "./log.ts";

Deno.test("F8: startLogging() writes JSON lines of the level asked for, 0600", async () => {
  const folder = await Deno.makeTempDir();
  try {
    {
      await using _log = await startLogging(folder, "info");
      logger("test").info("Started {what}", { what: "it" });
      logger("test").debug("not this one");
    }
    const file = join(folder, "omerta.log");
    const lines = (await Deno.readTextFile(file)).trim().split("\n");
    assert.equal(lines.length, 1);
    const line: { level?: string; message?: string } = JSON.parse(lines[0] ?? "");
    assert.equal(line.level, "INFO");
    assert.equal(line.message, 'Started "it"');
    assert.equal(((await Deno.stat(file)).mode ?? 0) & 0o777, 0o600);
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
});

Deno.test("F8: EventLog writes each event as a line and tells listeners", async () => {
  const folder = await Deno.makeTempDir();
  try {
    const heard: string[] = [];
    {
      using events = new EventLog(folder);
      using _listening = events.listen((event) => heard.push(event.event));
      events.add({ event: "vm-ready", vm: "0123456789abcdef", seconds: 41 });
    }
    const event: Record<string, unknown> = JSON.parse(
      await Deno.readTextFile(join(folder, "events.jsonl")),
    );
    assert.equal(event["event"], "vm-ready");
    assert.equal(event["seconds"], 41);
    assert.deepEqual(heard, ["vm-ready"]);
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
});
