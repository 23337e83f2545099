/**
 * Lines of text out of a stream.
 *
 * @module
 */

/** Cuts a stream of text into lines; the last one need not end with a line feed. */
export class TextLineStream extends TransformStream<string, string> {
  /** A stream of lines without their line feeds. */
  constructor() {
    let rest = "";
    super({
      transform(chunk, controller): void {
        const lines = (rest + chunk).split("\n");
        rest = lines.pop() ?? "";
        for (const line of lines) controller.enqueue(line);
      },
      flush(controller): void {
        if (rest !== "") controller.enqueue(rest);
      },
    });
  }
}
