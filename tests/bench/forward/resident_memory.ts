/**
 * Memory of a process.
 *
 * @module
 */

/** What a process has in memory, shared files included (bytes); proc_pid_smaps(5). */
export function residentMemory(pid: number): number {
  const text = Deno.readTextFileSync(`/proc/${pid}/smaps_rollup`);
  return Number(/^Rss:\s+(\d+) kB$/m.exec(text)?.[1] ?? NaN) * 1024;
}
