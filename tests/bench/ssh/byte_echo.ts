/**
 * A program that sends back every byte of its standard input, and how long that takes it.
 *
 * @module
 */

/** The program. */
export class ByteEcho implements AsyncDisposable {
  readonly #child: Deno.ChildProcess;
  readonly #writer: WritableStreamDefaultWriter<Uint8Array>;
  readonly #reader: ReadableStreamDefaultReader<Uint8Array>;
  #byte = 0;

  /**
   * Begins with a program that runs already.
   *
   * @param child With standard input and output piped.
   */
  constructor(child: Deno.ChildProcess) {
    this.#child = child;
    this.#writer = child.stdin.getWriter();
    this.#reader = child.stdout.getReader();
  }

  /**
   * Sends a byte and waits for it.
   *
   * @returns How long it took, in s.
   * @throws {Error} When something else comes, or nothing any more.
   */
  async roundTrip(): Promise<number> {
    this.#byte = (this.#byte + 1) % 256;
    const begun = performance.now();
    await this.#writer.write(Uint8Array.of(this.#byte));
    const { value } = await this.#reader.read();
    const took = (performance.now() - begun) / 1000;
    if (value?.length === 1 && value[0] === this.#byte) return took;
    throw new Error(`Cannot measure: want the byte ${this.#byte} back, got ${value}`);
  }

  /** Ends it by the end of its input. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.#writer.close().catch(() => {}); // it may have ended by itself
    await this.#reader.cancel();
    await this.#child.status;
  }
}
