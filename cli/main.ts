/**
 * Where the program begins. The data plane's thread starts from this same file, because nothing
 * else survives being bundled into one: it knows that it is one by its global scope.
 *
 * @module
 */

if ("WorkerGlobalScope" in globalThis) {
  const { servePlane } = await import("../net/plane/worker.ts");
  servePlane();
} else {
  const { main } = await import("./program.ts");
  Deno.exit(await main(Deno.args, new URL(import.meta.url)));
}
