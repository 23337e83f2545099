import assert from "node:assert/strict";

for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"] as const) {
  Deno.test(`passSignals() has a ${signal} that only we get end the child`, async () => {
    const program = `
      const { passSignals } = await import(${
      JSON.stringify(import.meta.resolve("./pass_signals.ts"))
    });
      const child = new Deno.Command("cat", { stdin: "piped" }).spawn();
      using _ = passSignals(child);
      console.log("ready");
      console.log((await child.status).signal);
      await child.stdin.close();
    `;
    const child = new Deno.Command(Deno.execPath(), {
      args: ["eval", "--no-check", program],
      stdout: "piped",
      signal: AbortSignal.timeout(10_000), // it sends SIGTERM
    }).spawn();
    let text = "";
    for await (const part of child.stdout.pipeThrough(new TextDecoderStream())) {
      if (text === "") child.kill(signal);
      text += part;
    }
    assert.equal(text, `ready\n${signal}\n`);
    assert.equal((await child.status).code, 0);
  });
}
