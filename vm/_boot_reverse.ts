/**
 * Boot test `reverse-ssh`: the guest connects out to us, and a command runs back through that
 * connection. It shows that a guest can reach out without anything reaching in, and needs no root.
 *
 * ```
 * guest                                   QEMU                        this process
 * sshd -i --- 192.168.100.9:22 --> (user network, closed) --> unix socket <--+
 *                                                                            +-- ssh, 127.0.0.1
 * ```
 *
 * Both sides know each other beforehand: ssh takes one host key, and the guest one user key.
 *
 * @module
 */

import { sshOnce, sshProof, sshWords, type TestKeys } from "./_boot_ssh.ts";
import type { Vm } from "./manager.ts";

/** First bytes that are read of the guest's connection, at the most. */
const GREETING_BYTES = 256;

/** Our end of the guest's connection, from before QEMU is started. */
export class ReverseWay implements Disposable {
  #listener: Deno.UnixListener | undefined;
  #way: Deno.UnixConn | undefined;

  /** Listens on `path`, where QEMU connects at its start; the last one counts that was started. */
  listen(path: string): void {
    this.#listener = Deno.listen({ transport: "unix", path });
    void this.#accept(this.#listener);
  }

  async #accept(listener: Deno.UnixListener): Promise<void> {
    for await (const way of listener) {
      this.#way?.close();
      this.#way = way;
    }
  }

  /**
   * Waits for the guest's call, then runs a command in the guest through it.
   *
   * @returns What the command printed.
   * @throws {Error} What ssh said, when it did not let in.
   */
  async trySsh(vm: Vm, keys: TestKeys, signal: AbortSignal): Promise<string> {
    const way = this.#way;
    if (way === undefined) throw new Error("QEMU has not connected");
    const greeting = await firstBytes(way, signal);
    if (!new TextDecoder().decode(greeting).startsWith("SSH-2.0-")) {
      throw new Error("What the guest sent first is no greeting of an SSH server");
    }
    using listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
    const ssh = sshOnce(vm, keys, listener.addr.port, signal);
    // It may fail before it connects: then nobody comes.
    const client = await Promise.race([listener.accept(), ssh.then(() => undefined)]);
    if (client === undefined) throw new Error(`SSH ended early: ${sshWords(await ssh)}`);
    using _client = client;
    await write(client, greeting);
    void copy(way, client);
    void copy(client, way);
    const result = await ssh;
    const proof = sshProof(vm, result);
    if (proof === undefined) throw new Error(`SSH was refused: ${sshWords(result)}`);
    return proof;
  }

  /** Ends the connection. */
  [Symbol.dispose](): void {
    this.#listener?.close();
    this.#listener = undefined;
    this.#way?.close();
    this.#way = undefined;
  }
}

async function firstBytes(way: Deno.Conn, signal: AbortSignal): Promise<Uint8Array> {
  const bytes = new Uint8Array(GREETING_BYTES);
  const aborted = Promise.withResolvers<never>();
  aborted.promise.catch(() => {});
  const abort = (): void => aborted.reject(signal.reason);
  signal.addEventListener("abort", abort);
  try {
    signal.throwIfAborted();
    const reading = way.read(bytes);
    reading.catch(() => {});
    const count = await Promise.race([reading, aborted.promise]);
    if (count === null) throw new Error("QEMU ended the connection");
    return bytes.subarray(0, count);
  } finally {
    signal.removeEventListener("abort", abort);
  }
}

async function write(to: Deno.Conn, bytes: Uint8Array): Promise<void> {
  for (let at = 0; at < bytes.length;) at += await to.write(bytes.subarray(at));
}

/** Copies until one side is closed, which is how each of them ends. */
async function copy(from: Deno.Conn, to: Deno.Conn): Promise<void> {
  const bytes = new Uint8Array(16_384);
  try {
    for (let count; (count = await from.read(bytes)) !== null;) {
      await write(to, bytes.subarray(0, count));
    }
  } catch {
    // Closed: ssh has ended, or the test is over.
  }
}
