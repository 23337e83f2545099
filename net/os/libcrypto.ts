/**
 * ChaCha20-Poly1305 by OpenSSL's `libcrypto.so.3`: one context for each key, kept for the life of
 * the key, four synchronous calls a packet and nothing allocated for it.
 *
 * Addresses go to C as big integers made at the call: that takes the engine's fast path (40 ns a
 * call), which a plain number misses (150 ns). Asking for the address of an array costs 220 ns, so
 * the last few arrays are remembered; the packet buffers of a device are always the same ones.
 * Every range is checked before its address leaves TypeScript.
 *
 * See EVP_EncryptInit(3), section "AEAD Interface" and "ChaCha20-Poly1305".
 *
 * @module
 */

const KEY_LEN = 32;
const TAG_LEN = 16;

/** openssl/evp.h */
const EVP_CTRL_AEAD_GET_TAG = 0x10;
const EVP_CTRL_AEAD_SET_TAG = 0x11;

const SYMBOLS = {
  EVP_chacha20_poly1305: { parameters: [], result: "usize" },
  EVP_CIPHER_CTX_new: { parameters: [], result: "usize" },
  EVP_CIPHER_CTX_free: { parameters: ["usize"], result: "void" },
  EVP_CIPHER_CTX_ctrl: { parameters: ["usize", "i32", "i32", "usize"], result: "i32" },
  EVP_EncryptInit_ex: {
    parameters: ["usize", "usize", "usize", "usize", "usize"],
    result: "i32",
  },
  EVP_EncryptUpdate: { parameters: ["usize", "usize", "usize", "usize", "i32"], result: "i32" },
  EVP_EncryptFinal_ex: { parameters: ["usize", "usize", "usize"], result: "i32" },
  EVP_DecryptInit_ex: {
    parameters: ["usize", "usize", "usize", "usize", "usize"],
    result: "i32",
  },
  EVP_DecryptUpdate: { parameters: ["usize", "usize", "usize", "usize", "i32"], result: "i32" },
  EVP_DecryptFinal_ex: { parameters: ["usize", "usize", "usize"], result: "i32" },
} as const;

type Symbols = Deno.DynamicLibrary<typeof SYMBOLS>["symbols"];

/** Scratch memory that C reads and writes: offsets. */
const NONCE = 0;
const OUT_LENGTH = 16;
const KEY = 32;
/** Large enough that the engine never keeps it on a heap where it could be moved. */
const SCRATCH_LEN = 4096;

/** How many arrays have their address remembered. A power of two. */
const REMEMBERED = 4;

/** What both directions share: the library, the scratch memory, the addresses. */
class Shared {
  readonly symbols: Symbols;
  readonly scratch = new Uint8Array(SCRATCH_LEN);
  readonly nonceAddress: bigint;
  readonly outLengthAddress: bigint;
  readonly #views: (Uint8Array | undefined)[] = new Array(REMEMBERED).fill(undefined);
  readonly #addresses: number[] = new Array(REMEMBERED).fill(0);
  #oldest = 0;

  constructor(symbols: Symbols) {
    this.symbols = symbols;
    const address = this.addressOf(this.scratch);
    this.nonceAddress = BigInt(address + NONCE);
    this.outLengthAddress = BigInt(address + OUT_LENGTH);
  }

  addressOf(view: Uint8Array): number {
    const views = this.#views;
    for (let i = 0; i < REMEMBERED; i++) if (views[i] === view) return this.#addresses[i] ?? 0;
    // Of the buffer, not the view: a small view may live on the heap until its buffer is asked for.
    const base = Deno.UnsafePointer.value(Deno.UnsafePointer.of(view.buffer as ArrayBuffer));
    const address = Number(base) + view.byteOffset;
    views[this.#oldest] = view;
    this.#addresses[this.#oldest] = address;
    this.#oldest = (this.#oldest + 1) % REMEMBERED;
    return address;
  }

  forget(): void {
    this.#views.fill(undefined);
  }

  /** Four zero bytes, then the counter, little-endian. */
  writeNonce(counter: number): void {
    const s = this.scratch;
    const low = counter >>> 0;
    const high = (counter - low) / 0x1_0000_0000;
    s[NONCE + 4] = low;
    s[NONCE + 5] = low >>> 8;
    s[NONCE + 6] = low >>> 16;
    s[NONCE + 7] = low >>> 24;
    s[NONCE + 8] = high;
    s[NONCE + 9] = high >>> 8;
    s[NONCE + 10] = high >>> 16;
    s[NONCE + 11] = high >>> 24;
  }

  newContext(init: "EVP_EncryptInit_ex" | "EVP_DecryptInit_ex", key: Uint8Array): bigint {
    if (key.length !== KEY_LEN) {
      throw new RangeError(`Cannot use a key of ${key.length} bytes: need ${KEY_LEN}`);
    }
    const context = this.symbols.EVP_CIPHER_CTX_new();
    const cipher = this.symbols.EVP_chacha20_poly1305();
    this.scratch.set(key, KEY);
    const keyAddress = this.nonceAddress + BigInt(KEY - NONCE);
    const ok = context !== 0n &&
      this.symbols[init](context, cipher, 0n, keyAddress, this.nonceAddress) === 1;
    this.scratch.fill(0, KEY, KEY + KEY_LEN);
    if (!ok) throw new Error("Cannot set up ChaCha20-Poly1305: libcrypto refused");
    return context;
  }
}

/** One key for sealing. See `Sealer` of the WireGuard layer. */
export class LibcryptoSealer {
  readonly #shared: Shared;
  #context: bigint;

  /** @ignore Made by {@link Libcrypto.sealer}. */
  constructor(shared: Shared, key: Uint8Array) {
    this.#shared = shared;
    this.#context = shared.newContext("EVP_EncryptInit_ex", key);
  }

  /**
   * Writes `length` bytes of ciphertext and 16 of tag to `dst[dstAt..]`: the same place as
   * `src[srcAt..]`, or one that does not overlap it.
   *
   * @throws {RangeError} When a range is outside its array or the key was wiped.
   */
  seal(
    counter: number,
    src: Uint8Array,
    srcAt: number,
    length: number,
    dst: Uint8Array,
    dstAt: number,
  ): void {
    const shared = this.#shared;
    const context = this.#context;
    if (
      context === 0n || !inside(src, srcAt, length) || !inside(dst, dstAt, length + TAG_LEN)
    ) {
      throw new RangeError(`Cannot seal ${length} bytes: outside the array, or the key was wiped`);
    }
    const { symbols, nonceAddress, outLengthAddress } = shared;
    const from = BigInt(shared.addressOf(src) + srcAt);
    const toNumber = shared.addressOf(dst) + dstAt;
    const to = BigInt(toNumber);
    const end = BigInt(toNumber + length);
    shared.writeNonce(counter);
    let ok = symbols.EVP_EncryptInit_ex(context, 0n, 0n, 0n, nonceAddress);
    if (length > 0) ok &= symbols.EVP_EncryptUpdate(context, to, outLengthAddress, from, length);
    ok &= symbols.EVP_EncryptFinal_ex(context, end, outLengthAddress);
    ok &= symbols.EVP_CIPHER_CTX_ctrl(context, EVP_CTRL_AEAD_GET_TAG, TAG_LEN, end);
    // Never seen. In place, `dst` would still hold the plain text: it must not be sent.
    if (ok !== 1) throw new Error(`Cannot seal ${length} bytes: libcrypto refused`);
  }

  /** Frees the context; libcrypto wipes the key in it. */
  wipe(): void {
    if (this.#context !== 0n) this.#shared.symbols.EVP_CIPHER_CTX_free(this.#context);
    this.#context = 0n;
  }
}

/** One key for opening. See `Opener` of the WireGuard layer. */
export class LibcryptoOpener {
  readonly #shared: Shared;
  #context: bigint;

  /** @ignore Made by {@link Libcrypto.opener}. */
  constructor(shared: Shared, key: Uint8Array) {
    this.#shared = shared;
    this.#context = shared.newContext("EVP_DecryptInit_ex", key);
  }

  /**
   * Opens `length` bytes, the last 16 the tag, into `dst[dstAt..]`: the same place, or one that
   * does not overlap. False when the tag is wrong, a range is outside its array or the key was
   * wiped; what was written to `dst` must then not be used.
   */
  open(
    counter: number,
    src: Uint8Array,
    srcAt: number,
    length: number,
    dst: Uint8Array,
    dstAt: number,
  ): boolean {
    const shared = this.#shared;
    const context = this.#context;
    const size = length - TAG_LEN;
    if (context === 0n || size < 0 || !inside(src, srcAt, length) || !inside(dst, dstAt, size)) {
      return false;
    }
    const { symbols, nonceAddress, outLengthAddress } = shared;
    const fromNumber = shared.addressOf(src) + srcAt;
    const from = BigInt(fromNumber);
    const tag = BigInt(fromNumber + size);
    const to = BigInt(shared.addressOf(dst) + dstAt);
    shared.writeNonce(counter);
    let ok = symbols.EVP_DecryptInit_ex(context, 0n, 0n, 0n, nonceAddress);
    ok &= symbols.EVP_CIPHER_CTX_ctrl(context, EVP_CTRL_AEAD_SET_TAG, TAG_LEN, tag);
    if (size > 0) ok &= symbols.EVP_DecryptUpdate(context, to, outLengthAddress, from, size);
    // Nothing is left to write for a stream cipher: any address will do.
    ok &= symbols.EVP_DecryptFinal_ex(context, to, outLengthAddress);
    return ok === 1;
  }

  /** Frees the context; libcrypto wipes the key in it. */
  wipe(): void {
    if (this.#context !== 0n) this.#shared.symbols.EVP_CIPHER_CTX_free(this.#context);
    this.#context = 0n;
  }
}

function inside(view: Uint8Array, at: number, length: number): boolean {
  return at >= 0 && length >= 0 && at + length <= view.length;
}

/** The library, loaded. Every key must be wiped before it is closed. */
export class Libcrypto implements Disposable {
  readonly #library: Deno.DynamicLibrary<typeof SYMBOLS>;
  readonly #shared: Shared;

  private constructor(library: Deno.DynamicLibrary<typeof SYMBOLS>) {
    this.#library = library;
    this.#shared = new Shared(library.symbols);
  }

  /** Undefined when this host has no such library or the process may not load it. Never asks. */
  static load(): Libcrypto | undefined {
    if (Deno.build.os !== "linux") return undefined;
    if (Deno.permissions.querySync({ name: "ffi" }).state !== "granted") return undefined;
    try {
      return new Libcrypto(Deno.dlopen("libcrypto.so.3", SYMBOLS));
    } catch {
      return undefined;
    }
  }

  /** Takes a copy of a 32-byte key for sealing. */
  sealer(key: Uint8Array): LibcryptoSealer {
    return new LibcryptoSealer(this.#shared, key);
  }

  /** Takes a copy of a 32-byte key for opening. */
  opener(key: Uint8Array): LibcryptoOpener {
    return new LibcryptoOpener(this.#shared, key);
  }

  /** Unloads the library. */
  [Symbol.dispose](): void {
    this.#shared.forget();
    this.#library.close();
  }
}
