/**
 * A listener of this computer whose connections are taken in bounded turns, and only while there is
 * room for them: at the cap, or without descriptors, they wait in the kernel's queue.
 *
 * @module
 */

import type { StreamAddress, StreamListener, StreamSocket } from "../os/stream_socket.ts";
import type { Deadline, ProxyLoop } from "./proxy_loop.ts";

/** Connections taken in one turn. */
const ACCEPTS = 64;

/** Where connections come in. */
export class Door implements Deadline, Disposable {
  readonly #loop: ProxyLoop;
  readonly #listener: StreamListener;
  readonly #onSocket: (socket: StreamSocket) => void;
  readonly #resume = (): void => this.#listener.watch(true);

  /**
   * Opens it.
   *
   * @param onSocket Takes a connection; it counts as one of the loop's until `loop.give()`.
   * @throws {OmertaError} `port-in-use`, `listen-failed`.
   */
  constructor(loop: ProxyLoop, address: StreamAddress, onSocket: (socket: StreamSocket) => void) {
    this.#loop = loop;
    this.#onSocket = onSocket;
    this.#listener = loop.streams.listen(address, () => this.#accept());
    this.#listener.watch(true);
  }

  /** Its port; 0 for a unix socket. */
  get port(): number {
    return this.#listener.port;
  }

  #accept(): void {
    const loop = this.#loop;
    for (let i = 0; i < ACCEPTS; i++) {
      if (loop.full) {
        this.#listener.watch(false);
        loop.whenFree(this.#resume);
        return;
      }
      const socket = this.#listener.accept();
      if (socket === undefined) {
        if (!this.#listener.exhausted) return;
        // Descriptors may come back at any time, from anywhere in the process.
        this.#listener.watch(false);
        loop.addDeadline(this);
        return;
      }
      loop.take();
      this.#onSocket(socket);
    }
  }

  /** See {@link Deadline.sweep}. */
  sweep(): void {
    this.#loop.removeDeadline(this);
    this.#listener.watch(true);
  }

  /** Closes it; connections stay. */
  [Symbol.dispose](): void {
    this.#loop.forget(this.#resume);
    this.#loop.removeDeadline(this);
    this.#listener[Symbol.dispose]();
  }
}
