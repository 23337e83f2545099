/**
 * The tunnels of one guest, in use by others than the node: a VPN server of the borrower's that the
 * guest leaves by, and a WireGuard of the borrower's computer. The guest is a job's, so that its
 * tunnel can be asked for by the job's id too.
 *
 * @module
 */

import assert from "node:assert/strict";
import { join } from "node:path";
import { formatKey, generatePrivateKey, publicKeyOf } from "../../net/wireguard/keys.ts";
import { type Namespace, NetLab, netlabMissing } from "../netlab/netlab.ts";
import { allAnswered, PING } from "../support/ping.ts";
import { commandMissing, testIf } from "../support/requires.ts";
import { LENDER, shareLink, type TwoMachines, twoMachines } from "../support/two_machines.ts";
import { until } from "../support/until.ts";

const missing = netlabMissing ??
  commandMissing("qemu-system-x86_64", "qemu-img", "ssh", "ping", "wireguard-go", "wg", "wg-quick");

/** Time for a translated guest on a busy host, in ms. */
const READY_MS = 250_000;
/** The VPN server, on a network that only the borrower is in. */
const SERVER = "192.168.3.9";
/** What only the VPN server knows the way to. */
const BEYOND = "203.0.113.7";

testIf(missing, "W5, W6, U7: a guest's tunnel is shown, tested, shared and left by", async (t) => {
  await using lab = await NetLab.create();
  await using world = await twoMachines();
  const { lender, borrower, borrowerMachine } = world;
  const server = await startServer(lab, world);
  await lender.shareImages();
  await lender.startDaemon();
  await shareLink(world);
  const folder = join(borrower.path, "..");
  const vpn = join(folder, "vpn.conf");
  await Deno.writeTextFile(vpn, server.config);

  const job = (await borrower.ok(
    ...["submit", "--provider", LENDER, "--name", "web", "--cpu", "2", "--vpn-config", vpn],
    ...["--script", `ping -c 3 -i 0.2 -w 45 ${BEYOND}; until [ -e /tmp/end ]; do sleep 0.2; done`],
  )).trim();

  await t.step("U7: the job leaves by the borrower's own VPN", async () => {
    await until(async () => {
      const shown = await borrower.ok("job", "show", job);
      assert.doesNotMatch(shown, /^state +(failed|died|stopped)/m, shown + await lender.logs());
      return (await borrower.ok("job", "logs", job)).includes("packet loss");
    }, { timeoutMs: READY_MS, what: "the job to ping what is behind the VPN" });
    assert.match(await borrower.ok("job", "logs", job), / 3 received/);
    assert.match(await borrower.ok("job", "show", job), /^Bringing up the VPN of .*vpn\.conf$/m);
    const ping = async (address: string, words: readonly string[] = PING): Promise<string> => {
      const once = `ping ${words.join(" ")} ${address} >/dev/null && echo yes || echo no`;
      return await borrower.ok("ssh", "web", once);
    };
    assert.equal(await ping(BEYOND), "yes\n");
    // The way back to the borrower is still the VM's own tunnel.
    assert.equal(await ping("10.0.0.1"), "yes\n");
    // It is the VPN that leads there: without it the same guest does not get there.
    await borrower.ok("ssh", "web", "sudo wg-quick down wg1 2>/dev/null");
    assert.equal(await ping(BEYOND, ["-c", "1", "-W", "2"]), "no\n");
    await borrower.ok("ssh", "web", "sudo wg-quick up wg1 2>/dev/null");
    assert.equal(await ping(BEYOND), "yes\n");
    // The server has met nobody but the borrower, on whose network it is.
    assert.match(await server.show("endpoints"), /\t192\.168\.3\.7:\d+\n/);
  });

  await t.step("W5: vpn status shows the tunnel, by job, by VM and at the lender", async () => {
    const table = await borrower.ok("vpn", "status");
    assert.match(table, /web +borrowed +192\.168\.1\.100 +10\.0\.0\.1 - 10\.0\.0\.2 .* up .* 15 s/);
    for (const which of [["--job-id", job.slice(0, 5)], ["--vm", "web"]]) {
      const { tunnels: [tunnel] } = JSON.parse(
        await borrower.ok("vpn", "status", "--json", ...which),
      );
      assert.equal(tunnel.job, job);
      assert.equal(tunnel.endpoint, `${LENDER}:51820`);
      assert.ok(tunnel.fromVm > 1000 && tunnel.toVm > 1000);
      assert.ok(Date.now() - tunnel.lastHandshake < READY_MS);
    }
    assert.match(table, /^web has a tunnel to the server 192\.168\.3\.9:51820: [1-9]/m);
    assert.match(await lender.ok("vpn", "status"), /web +lent .* carried /);
  });

  await t.step("W5: vpn test counts real answers, and says so when there are none", async () => {
    const ten = ["vpn", "test", "--server-ip", "10.0.0.2", "--count", "10"];
    const good = await allAnswered(borrower, ...ten);
    assert.match(good, /^VM +web .*lent by 192\.168\.1\.100$/m);
    assert.match(
      good,
      /^answers +10 of 10, 0 % lost\nround trip [0-9.]+ \/ [0-9.]+ \/ [0-9.]+ ms/m,
    );
    await borrower.ok("ssh", "web", "sudo nft insert rule inet omerta input icmp type 8 drop");
    const silent = ["vpn", "test", "--server-ip", "10.0.0.2", "--count", "2", "--timeout", "1"];
    const words = await borrower.fails(4, ...silent);
    assert.match(words, /^Next: The tunnel is up and the VM is silent/m);
    const json = JSON.parse((await borrower.run([...silent, "--json"])).stdout);
    assert.deepEqual([json.sent, json.received, json.loss], [2, 0, 1]);
    // The rule that was put first, by its handle.
    const handle = "nft -a list chain inet omerta input | sed -n 's/.*echo-request.*handle //p'";
    await borrower.ok(
      ...["ssh", "web", `sudo nft delete rule inet omerta input handle $(sudo ${handle})`],
    );
    await borrower.fails(2, "vpn", "test", "--server-ip", "10.0.0.3");
  });

  await t.step("W5: the kernel's way in: wg-quick with what vpn config wrote", async () => {
    const name = `omt${Deno.pid}`;
    const file = join(folder, `${name}.conf`);
    assert.match(await borrower.ok("vpn", "config", "web", "--out", file), /wg-quick up/);
    assert.equal(((await Deno.stat(file)).mode ?? 0) & 0o777, 0o600);
    const text = await Deno.readTextFile(file);
    for (const secret of await borrower.secrets()) assert.ok(!text.includes(secret));
    const quick = (verb: string, path: string): Promise<unknown> =>
      borrowerMachine.runChecked("wg-quick", [verb, path], {
        env: {
          WG_QUICK_USERSPACE_IMPLEMENTATION: "wireguard-go",
          WG_I_PREFER_BUGGY_USERSPACE: "1",
        },
      });
    let up = file;
    await quick("up", up);
    try {
      const route = await borrowerMachine.runChecked("ip", ["route", "get", "10.0.0.2"]);
      assert.match(route.stdout, new RegExp(`dev ${name} src 10\\.0\\.255\\.1`));
      const five = ["-c", "5", "-i", "0.2", "-w", "45", "10.0.0.2"];
      assert.match((await borrowerMachine.runChecked("ping", five)).stdout, / 5 received/);
      assert.equal(await borrower.ok("ssh", "web", "hostname"), "web\n");
      const transfer = await borrowerMachine.runChecked("wg", ["show", name, "transfer"]);
      const [, received, sent] = transfer.stdout.trim().split("\t").map(Number);
      assert.ok((received ?? 0) > 5 * 100 && (sent ?? 0) > 5 * 100, transfer.stdout);
      // The node's own tunnel goes on beside it.
      await borrower.ok("vpn", "test", "--server-ip", "10.0.0.2", "--count", "3");
      assert.match(
        await borrower.ok("vpn", "status"),
        /web has a client of this computer at 10\.0\.255\.1, UDP port 21821: /,
      );
      // W6: another one has other keys, and ends the former; not while that is up.
      const words = await borrower.fails(1, "vpn", "config", "web");
      assert.match(words, new RegExp(`its interface ${name} is up\nNext: Take it down first`));
      await borrower.fails(1, "vpn", "config", "web", "--remove");
      await quick("down", up);
      const second = await borrower.run(["vpn", "config", "web"]);
      assert.match(second.stderr, /^Warning: What follows holds a private key/m);
      const keyOf = (config: string): string => /^PrivateKey = (.*)$/m.exec(config)?.[1] ?? "";
      assert.notEqual(keyOf(second.stdout), keyOf(text));
      const port = ["-lunH", "sport", "=", ":21821"];
      await until(async () => (await borrowerMachine.run("ss", port)).stdout === "", {
        what: "the former WireGuard to let go of its port",
      });
      up = join(folder, `omu${Deno.pid}.conf`);
      await Deno.writeTextFile(up, second.stdout, { mode: 0o600 });
      await quick("up", up);
      await borrowerMachine.runChecked("ping", [...PING, "10.0.0.2"]);
      const peers = await borrower.ok("ssh", "web", "sudo wg show wg0 allowed-ips");
      assert.deepEqual(
        Array.from(peers.matchAll(/\t(.*)\n/g), ([, networks]) => networks).sort(),
        ["0.0.0.0/0", "10.0.255.1/32"],
      );
    } finally {
      await quick("down", up);
    }
    assert.match(
      (await borrower.run(["vpn", "config", "web", "--remove"])).stderr,
      /The configuration of web works no more/,
    );
    assert.doesNotMatch(await borrower.ok("ssh", "web", "sudo wg show wg0 peers"), /\n./);
    await borrower.fails(2, "vpn", "config", "web", "--remove");
  });

  await t.step("W6: when the job is over nothing of any tunnel is left", async () => {
    await borrower.ok("ssh", "web", "touch /tmp/end");
    await until(async () => /^state +done$/m.test(await borrower.ok("job", "show", job)), {
      timeoutMs: 60_000,
      what: "the job to end",
    });
    for (const home of [borrower, lender]) {
      const { tunnels } = JSON.parse(await home.ok("vpn", "status", "--json"));
      assert.deepEqual(tunnels, []);
    }
    assert.match(
      await borrower.fails(1, "vpn", "status", "--job-id", job),
      /it has ended \(done\), its VM is gone/,
    );
    const logs = await lender.logs() + await borrower.logs();
    for (const secret of server.secrets) assert.ok(!logs.includes(secret));
  });
});

/** A WireGuard server on a network of its own with the borrower, by wireguard-go. */
async function startServer(lab: NetLab, { borrowerMachine }: TwoMachines): Promise<{
  /** What it gives to its client. */
  readonly config: string;
  /** Keys that no log may hold. */
  readonly secrets: readonly string[];
  /** `wg show INTERFACE WHAT`. */
  show(what: string): Promise<string>;
}> {
  const machine: Namespace = await lab.namespace("server");
  await lab.connect(borrowerMachine, "192.168.3.7/24", machine, `${SERVER}/24`);
  await machine.addAddress("lo", `${BEYOND}/32`);
  const device = `oms${Deno.pid}`;
  const [own, client] = [generatePrivateKey(), generatePrivateKey()];
  machine.spawn("wireguard-go", ["-f", device], {
    stdout: "null",
    env: { WG_PROCESS_FOREGROUND: "1", LOG_LEVEL: "error" },
  });
  await until(async () => (await machine.run("wg", ["show", device])).code === 0, {
    what: "wireguard-go to answer",
  });
  await machine.runChecked("wg", [
    ...["set", device, "listen-port", "51820", "private-key", "/dev/stdin"],
    ...["peer", formatKey(publicKeyOf(client)), "allowed-ips", "10.99.0.2/32"],
  ], { input: formatKey(own) });
  await machine.addAddress(device, "10.99.0.1/24");
  await machine.setLink(device, "up");
  return {
    config: [
      "[Interface]",
      `PrivateKey = ${formatKey(client)}`,
      "Address = 10.99.0.2/24",
      "[Peer]",
      `PublicKey = ${formatKey(publicKeyOf(own))}`,
      `Endpoint = ${SERVER}:51820`,
      "AllowedIPs = 0.0.0.0/0",
      "PersistentKeepalive = 25",
      "",
    ].join("\n"),
    secrets: [formatKey(client), formatKey(own)],
    show: async (what) => (await machine.runChecked("wg", ["show", device, what])).stdout,
  };
}
