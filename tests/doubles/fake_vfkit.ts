/**
 * Takes the command line of vfkit and speaks its protocols without a guest: the REST interface on a
 * unix socket, the console file, and frames to and from the cable, which it sends back as they came.
 *
 * @module
 */

import { dirname, join } from "node:path";

if (Deno.args.includes("--version")) {
  Deno.stdout.writeSync(new TextEncoder().encode("vfkit version: v0.6.1\n"));
  Deno.exit(0);
}

/** Values of an option, each cut at its commas. */
function valuesOf(option: string): string[][] {
  return Deno.args.flatMap((arg, i) => arg === option ? [(Deno.args[i + 1] ?? "").split(",")] : []);
}

/** Value of `key` of the device `kind`. */
function deviceValue(kind: string, key: string): string {
  const device = valuesOf("--device").find((parts) => parts[0] === kind) ?? [];
  return device.find((part) => part.startsWith(`${key}=`))?.slice(key.length + 1) ?? "";
}

const cablePath = deviceValue("virtio-net", "unixSocketPath");
if (cablePath !== "") {
  const path = join(dirname(cablePath), `vfkit-${Deno.pid.toString(16)}-1.sock`);
  const cable = Deno.listenDatagram({ transport: "unixpacket", path });
  const to: Deno.UnixAddr = { transport: "unixpacket", path: cablePath };
  await cable.send(new TextEncoder().encode("VFKT"), to);
  void (async (): Promise<void> => {
    for await (const [frame] of cable) await cable.send(frame, to);
  })();
}

const console = await Deno.open(deviceValue("virtio-serial", "logFilePath"), { write: true });
async function print(text: string): Promise<void> {
  await console.write(new TextEncoder().encode(text));
}

const rest = (valuesOf("--restful-uri")[0]?.[0] ?? "").replace("unix://", "");
Deno.serve({ path: rest, onListen: () => {} }, async (asked) => {
  if (new URL(asked.url).pathname !== "/vm/state") return new Response(null, { status: 404 });
  if (asked.method === "GET") return Response.json({ state: "VirtualMachineStateRunning" });
  const { state } = await asked.json();
  if (state !== "Stop" && state !== "HardStop") return new Response(null, { status: 400 });
  await print(`${state}\n`);
  setTimeout(() => Deno.exit(0), 1);
  return new Response(null, { status: 202 });
});
await print("[    0.000000] Linux version 6.1.0\nOMERTA-STAGE cloud-init 3.1\n");
