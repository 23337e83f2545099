import assert from "node:assert/strict";
import { join } from "node:path";
import fc from "fast-check";
import {
  BoundedLog,
  ConsoleReader,
  followConsole,
  KEPT_LINES,
  MAX_LINE,
  readConsoleLine,
} from "./console.ts";

const bytesOf = (text: string): Uint8Array => new TextEncoder().encode(text);

Deno.test.each([
  { line: "[    0.000000] Linux version 6.1.0 (debian)", want: { kind: "kernel" } },
  { line: "EFI stub: Booting Linux Kernel...", want: { kind: "kernel" } },
  {
    line: "[   17.1] cloud-init[412]: OMERTA-STAGE cloud-init 17.42",
    want: { kind: "stage", name: "cloud-init", detail: "17.42" },
  },
  { line: "OMERTA-STAGE cloud-init", want: { kind: "stage", name: "cloud-init", detail: "" } },
  {
    line: "OMERTA-FAULT wg0: wg-quick could not bring it up",
    want: { kind: "fault", reason: "the guest reports: wg0: wg-quick could not bring it up" },
  },
  {
    line:
      "[    1.2] Kernel panic - not syncing: VFS: Unable to mount root fs on unknown-block(0,0)",
    want: { kind: "fault", reason: "the kernel found no root device" },
  },
  {
    line: "[    1.2] Kernel panic - not syncing: Attempted to kill init! exitcode=0x00000100",
    want: { kind: "fault", reason: "kernel panic: Attempted to kill init! exitcode=0x00000100" },
  },
  {
    line: "ALERT!  LABEL=root does not exist.  Dropping to a shell!",
    want: { kind: "fault", reason: "the root device LABEL=root does not exist" },
  },
  {
    line: "You are in emergency mode. After logging in, type",
    want: { kind: "fault", reason: "the guest is in emergency mode" },
  },
  {
    line: "No bootable device.",
    want: { kind: "fault", reason: "the disk has no boot loader" },
  },
])("V8: readConsoleLine($line) recognises it", ({ line, want }) => {
  assert.deepEqual(readConsoleLine(line), want);
});

Deno.test.each([
  "SeaBIOS (version 1.16.2-debian-1.16.2-1)",
  "Booting from Hard Disk...",
  "GRUB loading.",
  "OMERTA-STAGE ",
  "OMERTA-STAGE Cloud",
])("readConsoleLine(%s) makes nothing of it", (line) => {
  assert.equal(readConsoleLine(line), undefined);
});

Deno.test("ConsoleReader() strips control sequences, also when they are cut in two", () => {
  const text = "\x1b[?7l\x1b[0mred\x1b[31m \x1b]0;title\x07line\x1bPq\x1b\\!\r\nb\x08c\n";
  for (let cut = 0; cut <= text.length; cut++) {
    const reader = new ConsoleReader();
    reader.push(bytesOf(text.slice(0, cut)));
    reader.push(bytesOf(text.slice(cut)));
    assert.deepEqual(reader.lines(10), ["red line!", "bc"]);
  }
});

Deno.test("ConsoleReader() goes on after an escape sequence that never ends", () => {
  const reader = new ConsoleReader();
  reader.push(bytesOf("\x1b]0;endless\nnext\n"));
  assert.deepEqual(reader.lines(10), ["next"]);
});

Deno.test("ConsoleReader() keeps the text behind a sequence that was cut short", () => {
  const reader = new ConsoleReader();
  assert.deepEqual(reader.push(bytesOf("Mounted a.mount\x1b[\u2026POSIX \x1b\u2026Queue\n")), [
    "Mounted a.mount\u2026POSIX \u2026Queue",
  ]);
});

Deno.test("ConsoleReader() takes out C1 controls and marks that turn text", () => {
  const reader = new ConsoleReader();
  assert.deepEqual(reader.push(bytesOf("a\u009b31mb\u202ec\n")), ["a31mbc"]);
});

Deno.test("ConsoleReader() shows the unfinished line: a login prompt has no end", () => {
  const reader = new ConsoleReader();
  assert.deepEqual(reader.push(bytesOf("one\nweb login: ")), ["one"]);
  assert.deepEqual(reader.lines(2), ["one", "web login:"]);
});

Deno.test("ConsoleReader() keeps lines and their number within bounds", () => {
  const reader = new ConsoleReader();
  reader.push(bytesOf("x".repeat(MAX_LINE * 3)));
  assert.equal(reader.lines(10).length, 3);
  for (let i = 0; i < KEPT_LINES * 2; i++) reader.push(bytesOf(`${i}\n`));
  assert.equal(reader.lines(KEPT_LINES * 3).length, KEPT_LINES);
});

Deno.test("ConsoleReader() never throws and never lets a control through, on any bytes", () => {
  fc.assert(fc.property(fc.array(fc.uint8Array({ maxLength: 64 }), { maxLength: 8 }), (parts) => {
    const reader = new ConsoleReader();
    for (const part of parts) reader.push(part);
    for (const line of reader.lines(KEPT_LINES)) {
      // deno-lint-ignore no-control-regex -- Controls are what must not be there.
      assert.doesNotMatch(line, /[\x00-\x08\x0a-\x1f\x7f-\x9f]/);
      assert.ok(line.length <= MAX_LINE);
    }
  }));
});

Deno.test("BoundedLog() keeps at most two files of its size, and the end of what was written", async () => {
  const folder = await Deno.makeTempDir();
  try {
    const path = join(folder, "console.log");
    {
      await using log = await BoundedLog.create(path, 10);
      for (const part of ["0123456", "789abcdef", "ghijklmnopqrs"]) await log.write(bytesOf(part));
    }
    assert.equal(await Deno.readTextFile(`${path}.1`), "abcdefghij");
    assert.equal(await Deno.readTextFile(path), "klmnopqrs");
    assert.equal((await Array.fromAsync(Deno.readDir(folder))).length, 2);
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
});

Deno.test("followConsole() hands on every byte until the guest is gone", async () => {
  const folder = await Deno.makeTempDir();
  try {
    const path = join(folder, "c.sock");
    using listener = Deno.listen({ transport: "unix", path });
    const guest = await Deno.connect({ transport: "unix", path });
    using conn = await listener.accept();
    const reader = new ConsoleReader();
    const end = followConsole(conn, (bytes) => {
      reader.push(bytes);
      return Promise.resolve();
    }, new AbortController().signal);
    await guest.write(bytesOf("hello\nworld\n"));
    guest.close();
    await end;
    assert.deepEqual(reader.lines(10), ["hello", "world"]);
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
});
