import assert from "node:assert/strict";
import fc from "fast-check";
import { commandMissing, testIf } from "../../tests/support/requires.ts";
import { runChecked } from "../../lib/core/process.ts";
import {
  formatKey,
  generatePresharedKey,
  generatePrivateKey,
  parseKey,
  publicKeyOf,
} from "./keys.ts";

Deno.test("W2: parseKey(formatKey(x)) gives x back", () => {
  fc.assert(fc.property(fc.uint8Array({ minLength: 32, maxLength: 32 }), (key) => {
    assert.equal(formatKey(key).length, 44);
    assert.deepEqual(parseKey(formatKey(key)), key);
  }));
});

Deno.test.each([
  { text: "" },
  { text: "yAnz5TF+lXXJte14tji3zlMNq+hd2rYUIgJBgB3fBm" },
  { text: "yAnz5TF+lXXJte14tji3zlMNq+hd2rYUIgJBgB3fBmk" },
  { text: "yAnz5TF+lXXJte14tji3zlMNq+hd2rYUIgJBgB3fBml=" },
  { text: "yAnz5TF-lXXJte14tji3zlMNq_hd2rYUIgJBgB3fBmk=" },
  { text: " yAnz5TF+lXXJte14tji3zlMNq+hd2rYUIgJBgB3fBmk=" },
  { text: "yAnz5TF+lXXJte14tji3zlMNq+hd2rYUIgJBgB3fBmk=\n" },
  { text: "yAnz5TF+lXXJte14tji3zlMNq+hd2rYUIgJBgB3fBm==" },
])("W2: parseKey($text) refuses what wg does not write", ({ text }) => {
  assert.equal(parseKey(text), undefined);
});

Deno.test("W2: parseKey() never throws on any text", () => {
  fc.assert(fc.property(fc.string({ maxLength: 60 }), (text) => {
    parseKey(text);
  }));
});

testIf(commandMissing("wg"), "W2: wg reads our keys and we read those of wg", async () => {
  const ours = generatePrivateKey();
  const { stdout } = await runChecked("wg", ["pubkey"], { input: `${formatKey(ours)}\n` });
  assert.equal(stdout.trim(), formatKey(publicKeyOf(ours)));
  for (const kind of ["genkey", "genpsk"]) {
    assert.ok(parseKey((await runChecked("wg", [kind])).stdout.trim()));
  }
  assert.notDeepEqual(generatePresharedKey(), generatePresharedKey());
});
