/**
 * A program for testing the launcher: says how it was started, and does what its first argument says.
 *
 * @module
 */

import process from "node:process";

async function main(): Promise<number> {
  if (Deno.args[0] === "wait") {
    const { promise, resolve } = Promise.withResolvers<number>();
    const alive = setInterval(() => {}, 60_000);
    Deno.addSignalListener("SIGTERM", () => resolve(15));
    await Deno.stdout.write(new TextEncoder().encode("waiting\n"));
    const code = await promise;
    clearInterval(alive);
    return code;
  }
  const worker = new Worker(import.meta.url, { type: "module" });
  const word = await new Promise((resolve) => {
    worker.onmessage = ({ data }): void => resolve(data);
  });
  worker.terminate();
  const report = {
    args: Deno.args,
    name: process.argv0,
    form: Deno.env.get("OMERTA_FORM"),
    self: Deno.env.get("OMERTA_SELF"),
    path: Deno.env.get("PATH"),
    unstableNet: typeof Deno.listenDatagram,
    worker: word,
    input: await new Response(Deno.stdin.readable).text(),
  };
  await Deno.stdout.write(new TextEncoder().encode(`${JSON.stringify(report)}\n`));
  return 7;
}

if ("WorkerGlobalScope" in globalThis) {
  (globalThis as unknown as { postMessage(word: string): void }).postMessage("from the worker");
} else {
  Deno.exit(await main());
}
