/**
 * Port forwards: a port of this computer that leads to one inside, and the reverse.
 *
 * Both count towards the cap of their {@link ProxyLoop}: at it, connections to a port of this computer
 * wait, and those to a port inside are refused with a reset. Stopping a forward resets all of its
 * connections; one that ends leaves the others alone.
 *
 * @module
 */

import { OmertaError } from "../../lib/core/errors.ts";
import type { StreamAddress } from "../os/stream_socket.ts";
import type { Stack } from "../tcp/stack.ts";
import { DialFirst } from "./_dial_first.ts";
import type { Dialer } from "./dialer.ts";
import type { ProxyLoop } from "./proxy_loop.ts";
import { type Conversation, ProxyServer, type Turn } from "./proxy_server.ts";

const NOTHING = new Uint8Array(new ArrayBuffer(0));

/** A port here that leads inside. */
export interface LocalForwardOptions {
  /** Where to listen. */
  readonly listen: StreamAddress;
  /** Name or IPv4 literal inside. */
  readonly host: string;
  /** Port inside. */
  readonly port: number;
}

/**
 * Begins a forward from this computer to the inside.
 *
 * @throws {OmertaError} `port-in-use`, `listen-failed`.
 */
export function forwardLocal(
  loop: ProxyLoop,
  dialer: Dialer,
  options: LocalForwardOptions,
): ProxyServer {
  const conversation = new NoConversation({ kind: "dial", host: options.host, port: options.port });
  return new ProxyServer(loop, { listen: options.listen, dialer, converse: () => conversation });
}

/** Says nothing, and is reset when there is nobody. One object serves all clients. */
class NoConversation implements Conversation {
  readonly room = 0;
  readonly #turn: Turn;

  constructor(turn: Turn) {
    this.#turn = turn;
  }

  feed(): void {}

  next(): Turn {
    return this.#turn;
  }

  rest(): Uint8Array<ArrayBuffer> {
    return NOTHING;
  }

  opened(): Uint8Array<ArrayBuffer> {
    return NOTHING;
  }

  failed(): Uint8Array<ArrayBuffer> {
    return NOTHING;
  }
}

/** A port inside that leads here. */
export interface ReverseForwardOptions {
  /** Port inside, at the stack's own address. */
  readonly port: number;
  /** Where it leads. */
  readonly to: StreamAddress;
}

/**
 * A forward from the inside to this computer. A SYN is answered once the socket here is connected, so
 * a port at which nobody listens here is refused inside too.
 */
export class ReverseForward extends DialFirst {
  /** What it does. */
  readonly options: ReverseForwardOptions;

  /**
   * Begins to listen inside.
   *
   * @throws {OmertaError} `port-in-use`.
   */
  constructor(loop: ProxyLoop, stack: Pick<Stack, "listen">, options: ReverseForwardOptions) {
    const { port, to } = options;
    super(loop, {
      listen: (onSyn) => {
        const listener = stack.listen({ port, onSyn });
        if (listener !== undefined) return listener;
        throw new OmertaError(
          "port-in-use",
          `Cannot forward port ${port} from inside: it is forwarded already`,
          { next: "Stop the other forward, or choose another port" },
        );
      },
      route: () => to,
    });
    this.options = options;
  }
}
