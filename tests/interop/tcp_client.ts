/**
 * The kernel's side of the TCP tests: a program that uses the system's own sockets, to be run in the
 * namespace of a `tcp_node.ts`. Takes a list of jobs as JSON, runs them all at the same time, and
 * prints a list of results, in one line.
 *
 * @module
 */

import { createHash } from "node:crypto";

/** One connection of the kernel's. */
export interface Job {
  /**
   * `upload`: sends and ends, then reads to the end; `download`: sends a number and reads to the end;
   * `late`: the same, but reads nothing before there is a line on standard input; `echo`: sends and
   * reads at the same time; `serve`: listens, and sends back what it reads until its end; `receive`:
   * reads for `ms`, or `bytes`, and closes whatever more there is.
   */
  readonly kind: "upload" | "download" | "late" | "echo" | "serve" | "receive";
  /** Where to. */
  readonly host: string;
  /** Which port. */
  readonly port: number;
  /** How many bytes. */
  readonly bytes?: number;
  /** For how long, in ms. */
  readonly ms?: number;
}

/** How a job went. */
export interface JobResult {
  /** The error's name, if there was one. */
  readonly error?: string;
  /** Bytes sent. */
  readonly sent: number;
  /** Bytes read. */
  readonly read: number;
  /** SHA-256 of what was sent, in hex. */
  readonly sentHash: string;
  /** SHA-256 of what was read, in hex. */
  readonly readHash: string;
  /** What was read, if it was short. */
  readonly text: string;
  /** How long it took, in ms. */
  readonly ms: number;
}

/** A line that those wait for who are to read late. */
let line: Promise<unknown> | undefined;

async function run(job: Job): Promise<JobResult> {
  const begun = performance.now();
  const sentHash = createHash("sha256");
  const readHash = createHash("sha256");
  let sent = 0;
  let read = 0;
  let text = "";
  const measured = job.ms !== undefined;
  const until = begun + (job.ms ?? Infinity);
  const result = (error?: string): JobResult => ({
    ...(error === undefined ? {} : { error }),
    sent,
    read,
    sentHash: sentHash.digest("hex"),
    readHash: readHash.digest("hex"),
    text,
    ms: performance.now() - begun,
  });
  const send = async (c: Deno.TcpConn, bytes: number): Promise<void> => {
    const chunk = crypto.getRandomValues(new Uint8Array(65536));
    while (sent < bytes && performance.now() < until) {
      const n = await c.write(chunk.subarray(0, Math.min(chunk.length, bytes - sent)));
      if (!measured) sentHash.update(chunk.subarray(0, n));
      sent += n;
    }
    await c.closeWrite();
  };
  const receive = async (c: Deno.TcpConn, most = Infinity): Promise<void> => {
    const buffer = new Uint8Array(256 * 1024);
    while (performance.now() < until && read < most) {
      const n = await c.read(buffer);
      if (n === null) return;
      if (!measured) readHash.update(buffer.subarray(0, n));
      if (read < 100) text += new TextDecoder().decode(buffer.subarray(0, Math.min(n, 100)));
      read += n;
    }
  };
  try {
    if (job.kind === "serve") {
      using listener = Deno.listen({ hostname: job.host, port: job.port });
      using c = await listener.accept();
      await c.readable.pipeTo(c.writable);
      return result();
    }
    using c = await Deno.connect({ hostname: job.host, port: job.port });
    if (job.kind === "download" || job.kind === "late") {
      await c.write(new TextEncoder().encode(`${job.bytes}\n`));
      if (job.kind === "late") await (line ??= Deno.stdin.read(new Uint8Array(100)));
      await receive(c);
    } else if (job.kind === "receive") await receive(c, job.bytes);
    else if (job.kind === "echo") await Promise.all([send(c, job.bytes ?? 0), receive(c)]);
    else {
      await send(c, job.bytes ?? Infinity);
      await receive(c);
    }
    return result();
  } catch (error) {
    return result(error instanceof Error ? `${error.name}: ${error.message}` : String(error));
  }
}

if (import.meta.main) {
  const jobs: Job[] = JSON.parse(Deno.args[0] ?? "[]");
  const results = await Promise.all(jobs.map(run));
  const bytes = new TextEncoder().encode(`${JSON.stringify(results)}\n`);
  for (let at = 0; at < bytes.length;) at += Deno.stdout.writeSync(bytes.subarray(at));
}
