/**
 * One network namespace of a lab: a machine with its own interfaces, routes, ports and firewall,
 * that shares files and processes with the host.
 *
 * @module
 */

import { ip, processesIn, removeNamespace } from "./_ip.ts";
import { run, runChecked, type RunOptions, type RunResult, spawn } from "../core/process.ts";

/** A machine of a lab. Made by `NetLab`. */
export class Namespace {
  /** Its name for ip-netns(8). */
  readonly name: string;
  readonly #children: Deno.ChildProcess[] = [];
  #interfaces = 0;

  /** The namespace that goes by `name`, which exists. */
  constructor(name: string) {
    this.name = name;
  }

  /** Runs a program in it to its end, whatever its exit code. */
  run(program: string, args: readonly string[], options: RunOptions = {}): Promise<RunResult> {
    return run("ip", this.#exec(program, args), options);
  }

  /** Runs a program in it to its end; throws when the exit code is not 0. */
  runChecked(
    program: string,
    args: readonly string[],
    options: RunOptions = {},
  ): Promise<RunResult> {
    return runChecked("ip", this.#exec(program, args), options);
  }

  /**
   * Starts a program in it. The child's process id is the program's own. It is ended, at the latest,
   * when the lab is disposed of; a stream that was asked for as `piped` is the caller's to read.
   */
  spawn(
    program: string,
    args: readonly string[],
    options: Omit<Deno.CommandOptions, "args"> = {},
  ): Deno.ChildProcess {
    const child = spawn("ip", this.#exec(program, args), { stdin: "null", ...options });
    this.#children.push(child);
    return child;
  }

  /** Runs `ip WORDS` about it. */
  ip(...words: string[]): Promise<string> {
    return ip("-n", this.name, ...words);
  }

  /** Plugs a cable in or out. */
  async setLink(name: string, state: "up" | "down"): Promise<void> {
    await ip("-n", this.name, "link", "set", name, state);
  }

  /** Gives an interface an address, e.g. `192.168.1.100/24`; usable at once, IPv6 too. */
  async addAddress(name: string, address: string): Promise<void> {
    // RFC 4862 section 5.4: without "nodad" an IPv6 address is tentative for a second or two.
    const options = address.includes(":") ? ["nodad"] : [];
    await ip("-n", this.name, "address", "add", address, "dev", name, ...options);
  }

  /** Takes an address away from an interface. */
  async deleteAddress(name: string, address: string): Promise<void> {
    await ip("-n", this.name, "address", "delete", address, "dev", name);
  }

  /** Runs `ip route WORDS`, e.g. `route("add", "default", "via", "192.168.1.1")`. */
  async route(...words: string[]): Promise<string> {
    const family = words.some((word) => word.includes(":")) ? ["-6"] : [];
    return await ip("-n", this.name, ...family, "route", ...words);
  }

  /** Process ids of everything that runs in it. */
  processes(): Promise<number[]> {
    return processesIn(this.name);
  }

  /** Name for the next interface: `eth0`, `eth1`... */
  nextInterface(): string {
    return `eth${this.#interfaces++}`;
  }

  /** Ends everything that runs in it and removes it. */
  async remove(): Promise<void> {
    await removeNamespace(this.name);
    await Promise.all(this.#children.splice(0).map((child) => child.status));
  }

  #exec(program: string, args: readonly string[]): string[] {
    return ["netns", "exec", this.name, program, ...args];
  }
}
