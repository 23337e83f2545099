import assert from "node:assert/strict";
import { join } from "node:path";
import { identityOf, loadConfig, saveConfig, withLender } from "./config.ts";
import { initHome } from "./init.ts";
import { type Paths, pathsOf } from "./paths.ts";
import { runChecked } from "./process.ts";

async function withHome(body: (paths: Paths) => Promise<void>): Promise<void> {
  const folder = await Deno.makeTempDir();
  try {
    await body(pathsOf(join(folder, "home")));
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
}

const modeOf = async (path: string): Promise<number> => ((await Deno.stat(path)).mode ?? 0) & 0o777;

Deno.test("F4: initHome() creates the configuration for its user only", () =>
  withHome(async (paths) => {
    const report = await initHome(paths, { force: false, now: 1 });
    assert.ok(report.created);
    assert.equal(await modeOf(paths.config), 0o600);
    assert.equal(await modeOf(paths.home), 0o700);
    assert.equal(await modeOf(paths.ssh), 0o700);
  }));

Deno.test("F4: initHome() creates an SSH key that ssh-keygen accepts", () =>
  withHome(async (paths) => {
    await initHome(paths, { force: false, now: 1 });
    assert.equal(await modeOf(paths.sshKey), 0o600);
    const derived = await runChecked("ssh-keygen", ["-y", "-f", paths.sshKey]);
    assert.equal(derived.stdout, await Deno.readTextFile(`${paths.sshKey}.pub`));
  }));

Deno.test("F4: initHome() generates a local key of 64 hex characters", () =>
  withHome(async (paths) => {
    const { config } = await initHome(paths, { force: false, now: 1 });
    assert.match(config.localKey, /^[0-9a-f]{64}$/);
  }));

Deno.test("F4: initHome() keeps what is there on a second run", () =>
  withHome(async (paths) => {
    const first = await initHome(paths, { force: false, now: 1 });
    const key = await Deno.readTextFile(paths.sshKey);
    const second = await initHome(paths, { force: false, now: 2 });
    assert.equal(second.created, false);
    assert.deepEqual(second.config, first.config);
    assert.equal(await Deno.readTextFile(paths.sshKey), key);
  }));

Deno.test("F4: initHome() with force makes new keys and keeps the old file beside", () =>
  withHome(async (paths) => {
    const first = await initHome(paths, { force: false, now: 1 });
    const second = await initHome(paths, { force: true, now: 2 });
    assert.notEqual(second.config.localKey, first.config.localKey);
    assert.ok(second.keptAside !== undefined);
    const old: unknown = JSON.parse(await Deno.readTextFile(second.keptAside));
    assert.deepEqual(old, first.config);
  }));

Deno.test("F4: loadConfig() after initHome() gives every field", () =>
  withHome(async (paths) => {
    const { config } = await initHome(paths, { force: false, now: 77 });
    const loaded = await loadConfig(paths);
    assert.deepEqual(loaded, config);
    assert.equal(loaded.port, 51820);
    assert.equal(identityOf(loaded).machineCreated, 77);
  }));

Deno.test("loadConfig() says to run init when there is no configuration", () =>
  withHome(async (paths) => {
    await assert.rejects(loadConfig(paths), { code: "not-initialized", exit: 3 });
  }));

Deno.test("loadConfig() refuses a configuration that others can read", () =>
  withHome(async (paths) => {
    await initHome(paths, { force: false, now: 1 });
    await Deno.chmod(paths.config, 0o644);
    await assert.rejects(loadConfig(paths), {
      code: "config-exposed",
      message: /mode 644, want 600/,
    });
  }));

Deno.test("loadConfig() names the place of the damage and never quotes a key", () =>
  withHome(async (paths) => {
    const { config } = await initHome(paths, { force: false, now: 1 });
    const good = await Deno.readTextFile(paths.config);
    for (
      const [text, why] of [
        [good.slice(0, 200), /config\.json: it is not JSON/],
        [good.replace('"version": 1', '"version": 2'), /version: /],
        [good.replace(config.localKey, config.localKey.slice(1)), /localKey: want 64 characters/],
        [good.replace('"port": 51820', '"port": "51820"'), /port: /],
        [good.replace('"port"', '"prot"'), /config\.json: .*prot/],
      ] as const
    ) {
      await Deno.writeTextFile(paths.config, text);
      await assert.rejects(loadConfig(paths), (error: Error) => {
        assert.match(error.message, why);
        assert.ok(!error.message.includes(config.localKey.slice(1)));
        return true;
      });
    }
  }));

Deno.test("withLender() replaces a link of the same host and has a cap", () =>
  withHome(async (paths) => {
    let { config } = await initHome(paths, { force: false, now: 1 });
    const key = "ab".repeat(32);
    for (let i = 0; i < 32; i++) config = withLender(config, { host: `h${i}`, port: 1, key });
    config = withLender(config, { host: "h3", port: 1, key: "cd".repeat(32) });
    assert.equal(config.lenders.length, 32);
    await saveConfig(paths, config);
    assert.equal((await loadConfig(paths)).lenders.at(-1)?.key, "cd".repeat(32));
    assert.throws(() => withLender(config, { host: "x", port: 1, key }), {
      code: "too-many-lenders",
    });
  }));
