/**
 * Which processor runs what, so that all forwarders have the same one to themselves.
 *
 * @module
 */

/** `0-3,7` of Linux as numbers. */
export function parseCpuList(text: string): number[] {
  return text.trim().split(",").filter((part) => part !== "").flatMap((part) => {
    const [first = 0, last = first] = part.split("-").map(Number);
    return Array.from({ length: last - first + 1 }, (_, i) => first + i);
  });
}

function allowed(): number[] {
  try {
    const status = Deno.readTextFileSync("/proc/self/status");
    return parseCpuList(/^Cpus_allowed_list:\s*(.*)$/m.exec(status)?.[1] ?? "0");
  } catch {
    return [0];
  }
}

const [generator = 0, forwarder = generator] = allowed();

/** The first two that this process may use; the same one twice where there is only one. */
export const processors: {
  /** For the load generator. */
  readonly generator: number;
  /** For the forwarders. */
  readonly forwarder: number;
} = { generator, forwarder };
