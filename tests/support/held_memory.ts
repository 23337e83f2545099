/**
 * How much memory a test program holds; it is to be run with `--v8-flags=--expose-gc`.
 *
 * @module
 */

/** Bytes on the heap, and in buffers, after everything unused was taken away. */
export function heldMemory(): number {
  const collect = Reflect.get(globalThis, "gc");
  if (typeof collect !== "function") throw new Error("Cannot measure: want --expose-gc");
  for (let i = 0; i < 3; i++) collect();
  const { heapUsed, external } = Deno.memoryUsage();
  return heapUsed + external;
}
