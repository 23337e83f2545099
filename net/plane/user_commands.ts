/**
 * The borrower's own programs without an interface of the operating system: what the main thread asks
 * of the stack in this thread, and the ways from programs of this computer to it.
 *
 * ```
 *   main thread ---> UserCommands ---> names, pings, greetings \
 *   sockets of this computer -------> proxies ------------------> UserspaceInterface ---> tunnels
 * ```
 *
 * @module
 */

import { EXIT, OmertaError } from "../../lib/core/errors.ts";
import type { Reactor } from "../os/reactor.ts";
import { FIRST_PORT } from "../vlan/joined_interface.ts";
import type { NetworkInterface } from "../vlan/network_interface.ts";
import { UserspaceInterface } from "../vlan/userspace_interface.ts";
import type { Answer, Command } from "./_messages.ts";
import { Greetings } from "./greetings.ts";
import { Names } from "./names.ts";
import { Proxies } from "./proxies.ts";
import type { StackStats } from "./stats.ts";

/** What is done at once. */
export type UserCommand = Extract<
  Command,
  { kind: "open-stack" | "set-names" | "open-proxy" | "close-proxy" }
>;
/** What is answered later: when something has come through a tunnel, or has not. */
export type LaterCommand = Extract<Command, { kind: "ping" | "greet" }>;

/** What {@link UserCommands} stand on. */
export interface UserParts {
  /** Makes an interface the inner end of the tunnels. */
  readonly attach: (link: NetworkInterface) => void;
  /** Whether a tunnel leads to an address, unsigned 32 bits. */
  readonly leadsTo: (address: number) => boolean;
  /** Waits for the sockets of proxies. */
  readonly reactor: Reactor;
  /** Begins a batch on everything that packets go through. @returns Time of now, in ms. */
  readonly begin: () => number;
}

/** The stack, once it was asked for, with what stands on it. */
interface OpenStack {
  readonly link: UserspaceInterface;
  readonly greetings: Greetings;
  readonly proxies: Proxies;
}

/** Makes the stack when it is asked for, and hands commands to it. */
export class UserCommands implements Disposable {
  readonly #parts: UserParts;
  readonly #names = new Names();
  #open: OpenStack | undefined;

  /** There is no stack yet. */
  constructor(parts: UserParts) {
    this.#parts = parts;
  }

  /**
   * Does what is done at once; what it causes goes out with the next {@link tick}, and that of the
   * interface.
   *
   * @throws {OmertaError} `bad-address`, `bad-mtu`, `no-stack`, `proxy-exists`, `too-many-proxies`,
   * `port-in-use`, `listen-failed`.
   */
  execute(command: UserCommand): Answer {
    switch (command.kind) {
      case "open-stack":
        this.#open ??= this.#openStack(command.address, command.mtu);
        break;
      case "set-names":
        this.#names.set(command.names);
        break;
      case "open-proxy": {
        const { id, settings } = command;
        return { kind: "proxy-opened", port: this.#stack(id).proxies.open(id, settings) };
      }
      case "close-proxy": {
        this.#parts.begin();
        const existed = this.#open?.proxies.close(command.id) ?? false;
        return { kind: "proxy-closed", existed };
      }
    }
    return { kind: "done" };
  }

  /**
   * Begins what takes time; `done` is called once, unless this throws.
   *
   * @throws {OmertaError} `no-stack`, `unknown-host`, `ping-failed`, `greeting-failed`.
   */
  begin(command: LaterCommand, done: (answer: Answer) => void): void {
    const { host, timeoutMs } = command;
    const { link, greetings } = this.#stack(host);
    const now = this.#parts.begin();
    if (command.kind === "greet") {
      const address = this.#names.find(host, "connect to");
      greetings.read(
        { host, address, port: command.port, endsAt: now + timeoutMs },
        (line) => done({ kind: "greeted", line }),
      );
      return;
    }
    const to = this.#names.find(host, "ping");
    const fault = link.ping(to, { timeoutMs }, (answer) => done({ kind: "pinged", answer }));
    if (fault !== undefined) {
      throw new OmertaError("ping-failed", `Cannot ping ${host}: ${fault}`);
    }
  }

  /** See {@link Stack.retry}; the interface's `tick` must follow. */
  retry(isBack: (remote: number) => boolean): void {
    this.#open?.link.stack.retry(isBack);
  }

  /** Says what time it is, in ms, before the stack calls handlers. */
  setNow(now: number): void {
    if (this.#open) this.#open.proxies.now = now;
  }

  /** Looks at deadlines; when to call again, in ms. The interface's own `tick` must follow. */
  tick(now: number): number {
    if (this.#open === undefined) return Infinity;
    const { greetings, proxies } = this.#open;
    return Math.min(proxies.tick(now), greetings.tick(now));
  }

  /** What was counted; undefined while there is no stack. */
  stats(): StackStats | undefined {
    if (this.#open === undefined) return undefined;
    const { link: { stack, udp }, proxies } = this.#open;
    return {
      ...stack.use,
      tcp: { ...stack.counters },
      udp: { ...udp.counters },
      proxies: proxies.stats(),
    };
  }

  #openStack(address: string, mtu: number): OpenStack {
    const { attach, leadsTo, reactor, begin } = this.#parts;
    const now = begin();
    const link = new UserspaceInterface({ address, mtu, now, limits: { firstPort: FIRST_PORT } });
    const { stack, udp } = link;
    const resolve = (host: string): number | undefined => this.#names.resolve(host);
    // Nothing that the stack sends to itself comes back, whatever a tunnel leads to.
    const isInside = (to: number): boolean => to !== link.address && leadsTo(to);
    using undo = new DisposableStack();
    const proxies = undo.use(new Proxies({ stack, udp, resolve, isInside, reactor, begin }, now));
    attach(link);
    undo.move();
    return { link, greetings: new Greetings(link), proxies };
  }

  #stack(what: string): OpenStack {
    if (this.#open !== undefined) return this.#open;
    throw new OmertaError("no-stack", `Cannot reach ${what}: nothing is borrowed`, {
      exit: EXIT.unreachable,
      next: "Borrow a VM with 'omerta vm request'",
    });
  }

  /** Closes the proxies; those inside are told by resets when the interface stops. */
  [Symbol.dispose](): void {
    this.#parts.begin();
    this.#open?.proxies[Symbol.dispose]();
  }
}
