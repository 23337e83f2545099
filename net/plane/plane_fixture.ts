/**
 * Planes in processes and namespaces of their own, for tests.
 *
 * @module
 */

import type { Namespace } from "../../tests/netlab/netlab.ts";
import { until } from "../../tests/support/until.ts";
import type { FixtureConfig } from "./plane_program.ts";

export type { FixtureConfig } from "./plane_program.ts";

/** A running plane in a namespace. */
export interface RunningPlane extends AsyncDisposable {
  /** The process. */
  readonly child: Deno.ChildProcess;
  /** Everything it has printed so far. */
  text(): string;
  /** Writes a line to it and reads the JSON that it prints; see plane_program.ts. */
  ask(line: string): Promise<unknown>;
}

/** Starts a plane and waits until it is ready. */
export async function startPlane(
  space: Namespace,
  config: FixtureConfig,
  stderr: "inherit" | "piped" = "inherit",
): Promise<RunningPlane> {
  const child = space.spawn(
    Deno.execPath(),
    [
      "run",
      "-A",
      new URL("plane_program.ts", import.meta.url).pathname,
      JSON.stringify(config),
    ],
    { stdin: "piped", stdout: "piped", stderr },
  );
  let text = "";
  const decoder = new TextDecoder();
  const reading = (async (): Promise<void> => {
    for await (const chunk of child.stdout) text += decoder.decode(chunk, { stream: true });
  })();
  await until(() => text.includes("ready"), { what: "the plane to be ready", timeoutMs: 20_000 });
  return {
    child,
    text: () => text,
    async ask(line: string): Promise<unknown> {
      const before = text.split("\n").length;
      const writer = child.stdin.getWriter();
      await writer.write(new TextEncoder().encode(`${line}\n`));
      writer.releaseLock();
      const printed = await until(() => {
        const lines = text.split("\n");
        return lines.length > before ? lines[before - 1] : undefined;
      }, { what: `an answer to ${line}` });
      return JSON.parse(printed);
    },
    async [Symbol.asyncDispose](): Promise<void> {
      await child.stdin.close().catch(() => {}); // it may have been killed
      await reading;
      await child.status;
    },
  };
}
