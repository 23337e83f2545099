import assert from "node:assert/strict";
import { dirname, join } from "node:path";
import { type Import, importsOf } from "./_import_graph.ts";
import { circlesOf, faultsOf, layerOf } from "./check_layers.ts";

function edge(from: string, to: string, typeOnly = false): Import {
  return { from, to, line: 1, typeOnly };
}

Deno.test.each([
  { from: "cli/main.ts", to: "lib/api/client.ts" },
  { from: "cli/main.ts", to: "npm:commander@15.1.0" },
  { from: "lib/node/node.ts", to: "net/plane/plane.ts" },
  { from: "net/proxy/dialer.ts", to: "net/vlan/network_interface.ts" },
  { from: "net/plane/packet_loop.ts", to: "net/vlan/tun_interface.ts" },
  { from: "net/wire/udp.ts", to: "net/wire/checksum.ts" },
  { from: "net/wire/udp_test.ts", to: "npm:fast-check@4.10.2" },
  { from: "net/os/tun_test.ts", to: "tests/netlab/netlab.ts" },
  { from: "net/wire/udp.ts", to: "net/wire/_read.ts" },
  { from: "net/os/tun_test.ts", to: "net/os/_tun_fixture.ts" },
  { from: "net/os/_tun_fixture.ts", to: "tests/doubles/frames.ts" },
  { from: "lib/core/version.ts", to: "deno.json" },
  { from: "tests/e2e/lend_test.ts", to: "cli/main.ts" },
  { from: "scripts/build.ts", to: "lib/core/process.ts" },
])("F2: faultsOf() lets $from import $to", ({ from, to }) => {
  assert.deepEqual(faultsOf([edge(from, to)]), []);
});

Deno.test.each([
  { from: "lib/node/node.ts", to: "lib/api/app.ts", want: /lib\/node may not import lib\/api/ },
  { from: "lib/core/log.ts", to: "net/wire/ip_address.ts", want: /may not import net\/wire/ },
  { from: "net/tcp/stack.ts", to: "net/wireguard/device.ts", want: /may not import/ },
  { from: "net/vlan/tun_interface.ts", to: "net/plane/plane.ts", want: /may not import/ },
  { from: "net/wire/udp.ts", to: "npm:zod@4.6.7", want: /net\/wire imports no packages/ },
  { from: "net/wire/udp.ts", to: "node:net", want: /net\/wire imports no packages/ },
  { from: "vm/qemu.ts", to: "net/filter/nat.ts", want: /only types of net\/filter/ },
  { from: "vm/qemu.ts", to: "tests/support/until.ts", want: /only tests may import/ },
  { from: "vm/qemu_test.ts", to: "scripts/build.ts", want: /only tests may import/ },
  { from: "net/os/tun.ts", to: "net/os/_tun_fixture.ts", want: /only tests may import/ },
  { from: "vm/qemu.ts", to: "other/file.ts", want: /in no layer/ },
  { from: "other/file.ts", to: "vm/qemu.ts", want: /in no layer/ },
  { from: "lib/node/node.ts", to: "vm/_wait.ts", want: /private to its folder/ },
  { from: "tests/e2e/lend_test.ts", to: "vm/_wait.ts", want: /private to its folder/ },
])("F2: faultsOf() refuses $from importing $to", ({ from, to, want }) => {
  assert.match(faultsOf([edge(from, to)]).join("\n"), want);
});

Deno.test("F2: faultsOf() lets vm/ use types of net/filter", () => {
  assert.deepEqual(faultsOf([edge("vm/qemu.ts", "net/filter/nat.ts", true)]), []);
});

Deno.test("layerOf() takes the longest name that fits, whole folders only", () => {
  assert.equal(layerOf("net/wireguard/device.ts"), "net/wireguard");
  assert.equal(layerOf("net/wire/udp.ts"), "net/wire");
  assert.equal(layerOf("vmware/x.ts"), undefined);
});

Deno.test("circlesOf() finds a circle once, of any length", () => {
  const imports = [edge("a", "b"), edge("b", "c"), edge("c", "a"), edge("b", "d"), edge("d", "d")];
  assert.deepEqual(circlesOf(imports), [["a", "b", "c"], ["d"]]);
});

Deno.test("importsOf() sees every kind of import", async () => {
  const root = await Deno.makeTempDir();
  const write = async (path: string, text: string): Promise<void> => {
    await Deno.mkdir(dirname(join(root, path)), { recursive: true });
    await Deno.writeTextFile(join(root, path), text);
  };
  try {
    await write(
      "net/a.ts",
      [
        `import type { B } from "./b.ts";`,
        `export * from "../vm/c.ts";`,
        `const d = await import("../d.ts"); // import "./comment.ts"`,
        `import text from "../x.yaml" with { type: "text" };`,
        `import { readFile } from "node:fs";`,
        `const word = 'import "./string.ts"';`,
      ].join("\n"),
    );
    await write("net/b.ts", "export type B = 1;");
    await write("vm/c.ts", "export {};");
    await write("d.ts", "export {};");
    await write("x.yaml", "x: 1\n");
    assert.deepEqual(await importsOf(root, ["net/a.ts", "net/b.ts", "vm/c.ts", "d.ts"]), [
      { from: "net/a.ts", to: "net/b.ts", line: 1, typeOnly: true },
      { from: "net/a.ts", to: "vm/c.ts", line: 2, typeOnly: false },
      { from: "net/a.ts", to: "d.ts", line: 3, typeOnly: false },
      { from: "net/a.ts", to: "x.yaml", line: 4, typeOnly: false },
      { from: "net/a.ts", to: "node:fs", line: 5, typeOnly: false },
    ]);
  } finally {
    await Deno.remove(root, { recursive: true });
  }
});
