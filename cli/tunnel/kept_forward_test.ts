import assert from "node:assert/strict";
import type { ProxyView } from "../../lib/api/proxy_schemas.ts";
import { OmertaError } from "../../lib/core/errors.ts";
import {
  FIRST_WAIT_MS,
  keepForward,
  type KeptForwardOptions,
  MAX_WAIT_MS,
} from "./kept_forward.ts";

const BODY = {
  kind: "socks",
  listen: { address: "127.0.0.1", port: 1 },
  credentials: null,
} as const;

function error(code: string, message = code): OmertaError {
  return new OmertaError(code, message);
}

/** What one try to hold the forward does: opens it or not, and ends so. */
interface Try {
  readonly opens: boolean;
  readonly ends: OmertaError | "stopped" | "interrupted";
}

/** Runs it over `tries`; what was said, and how long it waited. */
async function keep(tries: Try[]): Promise<{ end: unknown; said: string[]; waits: number[] }> {
  const said: string[] = [];
  const waits: number[] = [];
  const abort = new AbortController();
  const options: KeptForwardOptions = {
    body: BODY,
    client: {
      holdProxy: (_body, onOpen) => {
        const { opens, ends } = tries.shift() ?? assert.fail("one try more");
        if (opens) onOpen({ id: "x" } as ProxyView);
        if (ends === "stopped") return Promise.resolve();
        if (ends === "interrupted") abort.abort();
        return Promise.reject(ends === "interrupted" ? new Error("Aborted") : ends);
      },
    },
    pause: (ms) => Promise.resolve(waits.push(ms)),
    onOpen: (_proxy, again) => said.push(again ? "again" : "open"),
    onWaiting: (why) => said.push(why),
  };
  const end = await keepForward(options, abort.signal).catch((failure: unknown) => failure);
  return { end, said, waits };
}

const GONE: Try = { opens: true, ends: error("daemon-gone") };
const NONE: Try = { opens: false, ends: error("no-daemon") };

Deno.test("G6: keepForward() opens it again when the daemon is back, and says so once", async () => {
  const { end, said, waits } = await keep([
    GONE,
    NONE,
    NONE,
    { opens: false, ends: error("port-in-use", "Cannot listen") },
    GONE,
    { opens: true, ends: "stopped" },
  ]);
  assert.equal(end, "stopped");
  const ended = "the daemon has ended";
  assert.deepEqual(said, ["open", ended, "Cannot listen", "again", ended, "again"]);
  const first = FIRST_WAIT_MS;
  assert.deepEqual(waits, [first, 2 * first, 4 * first, 8 * first, first]);
});

Deno.test("G6: keepForward() waits longer each time, up to a limit", async () => {
  const { waits } = await keep([
    GONE,
    ...Array.from({ length: 10 }, () => NONE),
    { opens: true, ends: "stopped" },
  ]);
  assert.equal(waits.at(-1), MAX_WAIT_MS);
  assert.equal(Math.max(...waits), MAX_WAIT_MS);
});

Deno.test("G6: keepForward() fails when it cannot be opened the first time", async () => {
  const { end, said, waits } = await keep([{ opens: false, ends: error("port-in-use") }]);
  assert.equal((end as OmertaError).code, "port-in-use");
  assert.deepEqual([said, waits], [[], []]);
});

Deno.test("G6: keepForward() ends at once when it is interrupted, open or not", async () => {
  const open = await keep([{ opens: true, ends: "interrupted" }]);
  assert.deepEqual([open.end, open.said, open.waits], ["interrupted", ["open"], []]);
  const waiting = await keep([GONE, { opens: false, ends: "interrupted" }]);
  assert.equal(waiting.end, "interrupted");
});
