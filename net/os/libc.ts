/**
 * The C library: every symbol of it that is used, errors by name, descriptors that are owned.
 *
 * Calls are synchronous: one costs 0.1 us, a call that Deno runs on another thread 7 us. So
 * descriptors do not block, and the only call that waits is `poll`. Lengths travel inside structures
 * and counts as 32-bit numbers, because a 64-bit result is a bigint, which is an allocation.
 *
 * @module
 */

import { OmertaError } from "../../lib/core/errors.ts";

/** The functions of the C library that are called. */
export const SYMBOLS = {
  __errno_location: { parameters: [], result: "pointer" },
  accept4: { parameters: ["i32", "pointer", "pointer", "i32"], result: "i32" },
  bind: { parameters: ["i32", "buffer", "u32"], result: "i32" },
  close: { parameters: ["i32"], result: "i32" },
  connect: { parameters: ["i32", "buffer", "u32"], result: "i32" },
  epoll_create1: { parameters: ["i32"], result: "i32" },
  epoll_ctl: { parameters: ["i32", "i32", "i32", "buffer"], result: "i32" },
  epoll_wait: { parameters: ["i32", "buffer", "i32", "i32"], result: "i32" },
  eventfd: { parameters: ["u32", "i32"], result: "i32" },
  getpeername: { parameters: ["i32", "buffer", "buffer"], result: "i32" },
  getsockname: { parameters: ["i32", "buffer", "buffer"], result: "i32" },
  getsockopt: { parameters: ["i32", "i32", "i32", "buffer", "buffer"], result: "i32" },
  ioctl: { parameters: ["i32", "usize", "buffer"], result: "i32" },
  listen: { parameters: ["i32", "i32"], result: "i32" },
  open: { parameters: ["buffer", "i32"], result: "i32" },
  poll: { parameters: ["buffer", "usize", "i32"], result: "i32" },
  read: { parameters: ["i32", "buffer", "usize"], result: "i32" },
  readv: { parameters: ["i32", "buffer", "i32"], result: "i32" },
  recvfrom: {
    parameters: ["i32", "buffer", "usize", "i32", "buffer", "buffer"],
    result: "i32",
  },
  recvmmsg: { parameters: ["i32", "buffer", "u32", "i32", "pointer"], result: "i32" },
  sendmmsg: { parameters: ["i32", "buffer", "u32", "i32"], result: "i32" },
  sendmsg: { parameters: ["i32", "buffer", "i32"], result: "i32" },
  setns: { parameters: ["i32", "i32"], result: "i32" },
  setsockopt: { parameters: ["i32", "i32", "i32", "buffer", "u32"], result: "i32" },
  shutdown: { parameters: ["i32", "i32"], result: "i32" },
  socket: { parameters: ["i32", "i32", "i32"], result: "i32" },
  syscall: { parameters: ["isize", "i32", "buffer", "u32"], result: "i32" },
  usleep: { parameters: ["u32"], result: "i32" },
  write: { parameters: ["i32", "buffer", "usize"], result: "i32" },
  writev: { parameters: ["i32", "buffer", "i32"], result: "i32" },
} as const satisfies Deno.ForeignLibraryInterface;

// `ioctl` is variadic; some requests take a number where others take a pointer.
const BY_VALUE = {
  ioctl: { parameters: ["i32", "usize", "usize"], result: "i32" },
} as const satisfies Deno.ForeignLibraryInterface;

/** The C library, opened. */
export interface Libc {
  /** The functions, by their C names. */
  readonly call: Deno.DynamicLibrary<typeof SYMBOLS>["symbols"];
  /** `ioctl` for requests whose argument is a number. */
  ioctlValue(fd: number, request: bigint, value: bigint): number;
  /** Number of the last error on this thread; read it right after the call that failed. */
  errno(): number;
}

/** The C library, or undefined where the fast path is not available: not Linux, or FFI refused. */
export function libc(): Libc | undefined {
  return opened;
}

function open(): Libc | undefined {
  if (Deno.build.os !== "linux") return undefined;
  // Asked first, because loading would prompt on a terminal.
  if (Deno.permissions.querySync({ name: "ffi" }).state !== "granted") return undefined;
  let library: Deno.DynamicLibrary<typeof SYMBOLS>;
  let byValue: Deno.DynamicLibrary<typeof BY_VALUE>;
  try {
    // Kept for the life of the thread: there is nothing to give back.
    library = Deno.dlopen("libc.so.6", SYMBOLS);
    byValue = Deno.dlopen("libc.so.6", BY_VALUE);
  } catch {
    return undefined;
  }
  const call = library.symbols;
  const location = call.__errno_location();
  if (location === null) return undefined;
  // The address belongs to the thread, and so does this module's state.
  const view = new Deno.UnsafePointerView(location);
  return {
    call,
    ioctlValue: (fd, request, value) => byValue.symbols.ioctl(fd, request, value),
    errno: () => view.getInt32(0),
  };
}

const opened = open();

/**
 * The C library where it must be there.
 *
 * @throws {OmertaError} `ffi-unavailable`.
 */
export function needLibc(what: string): Libc {
  const c = libc();
  if (c !== undefined) return c;
  throw new OmertaError(
    "ffi-unavailable",
    `Cannot ${what}: the C library cannot be called on this system`,
    { next: "Use Linux and allow foreign functions (--allow-ffi)" },
  );
}

/** Numbers of the errors that are told apart (errno(3), the same on every Linux). */
export const ERRNO = {
  EPERM: 1,
  ENOENT: 2,
  EINTR: 4,
  EIO: 5,
  EAGAIN: 11,
  ENOMEM: 12,
  EACCES: 13,
  EBUSY: 16,
  EEXIST: 17,
  ENODEV: 19,
  EINVAL: 22,
  ENFILE: 23,
  EMFILE: 24,
  EPIPE: 32,
  EBADFD: 77,
  EMSGSIZE: 90,
  EADDRINUSE: 98,
  EADDRNOTAVAIL: 99,
  ENETUNREACH: 101,
  ECONNABORTED: 103,
  ECONNRESET: 104,
  ENOBUFS: 105,
  ETIMEDOUT: 110,
  ECONNREFUSED: 111,
  EHOSTUNREACH: 113,
  EINPROGRESS: 115,
} as const;

const NAMES = new Map<number, string>(Object.entries(ERRNO).map(([name, n]) => [n, name]));

/** `EADDRINUSE` for 98; `errno 71` for one that has no name here. */
export function errnoName(errno: number): string {
  return NAMES.get(errno) ?? `errno ${errno}`;
}

/** An owned descriptor: closed once, at the end of its `using` block or by its owner. */
export class Fd implements Disposable {
  #number: number;
  readonly #close: (fd: number) => number;

  /** Takes ownership of a descriptor. */
  constructor(c: Libc, number: number) {
    this.#number = number;
    this.#close = c.call.close;
  }

  /** The descriptor, or -1 once it is closed. */
  get number(): number {
    return this.#number;
  }

  /** Closes it; a second time does nothing. */
  [Symbol.dispose](): void {
    if (this.#number < 0) return;
    this.#close(this.#number);
    this.#number = -1;
  }
}

/**
 * Memory whose address the kernel may be told: V8 keeps arrays of up to 64 bytes where it can move
 * them, unless they are made over a buffer.
 */
export function fixedBytes(length: number): Uint8Array<ArrayBuffer> {
  return new Uint8Array(new ArrayBuffer(length));
}

/** Address of memory made by {@link fixedBytes}, to be written into a structure. */
export function addressOf(bytes: Uint8Array<ArrayBuffer>): bigint {
  return Deno.UnsafePointer.value(Deno.UnsafePointer.of(bytes));
}

/** `text` as a C string. */
export function cString(text: string): Uint8Array<ArrayBuffer> {
  const bytes = new TextEncoder().encode(text);
  const out = fixedBytes(bytes.length + 1);
  out.set(bytes);
  return out;
}

/** A C `int`. */
export function cInt(value: number): Uint8Array<ArrayBuffer> {
  const out = fixedBytes(4);
  new DataView(out.buffer).setInt32(0, value, true);
  return out;
}
