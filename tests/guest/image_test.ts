import assert from "node:assert/strict";
import { join } from "node:path";
import { parse, stringify } from "yaml";
import { run, runChecked } from "../../lib/core/process.ts";
import { generateSshKey } from "../../lib/core/ssh_key.ts";
import { renderSeed, seedIso } from "../../vm/seed/cloud_init.ts";
import { importImage } from "../../vm/image/import.ts";
import { buildImage } from "../../vm/image/build.ts";
import { ImageStore } from "../../vm/image/store.ts";
import type { SeedOptions } from "../../vm/seed/seed_options.ts";
import { commandMissing } from "../support/requires.ts";
import { guestImage, guestMissing } from "./guest_image.ts";
import { deadCable, DONE, lent, seedOf } from "./lent_seed.ts";
import { bootPlain } from "./plain_guest.ts";

/** A guest reaches the end of cloud-init in 20 s when it has two cores for itself. */
const BOOT_MS = 240_000;
const why = guestMissing === undefined ? "" : ` (${guestMissing})`;
const ignore = guestMissing !== undefined;

async function temporaryFolder(): Promise<AsyncDisposable & { path: string }> {
  const path = await Deno.makeTempDir();
  return { path, [Symbol.asyncDispose]: () => Deno.remove(path, { recursive: true }) };
}

Deno.test({
  name: `V5: the same recipe is not built twice${why}`,
  ignore,
  async fn(): Promise<void> {
    const image = await guestImage();
    const steps: string[] = [];
    const folder = join(image.disk, "..", "..");
    const again = await buildImage({
      store: await ImageStore.open(folder),
      onProgress: ({ step }) => steps.push(step),
    });
    assert.deepEqual(again, image);
    assert.ok(!steps.some((step) => step.includes("mmdebstrap")), steps.join());
  },
});

Deno.test({
  name:
    `V3, V4, N11: a guest takes our seed, and firewall and tunnel come back after a reboot${why}`,
  ignore,
  async fn(): Promise<void> {
    const image = await guestImage();
    await using folder = await temporaryFolder();
    const seed = renderSeed(lent("web-1"));
    // What the guest says about itself on every boot, and one reboot after the first.
    const report = `[Unit]
After=multi-user.target
[Service]
Type=oneshot
ExecStart=/bin/sh -c '( echo; echo REPORT-BEGIN; \\
  nft list ruleset | grep -c "policy drop" | sed "s/^/drop-policies /"; \\
  ping -c 1 -W 1 192.168.100.9; nft list chain inet omerta output | grep -o "packets [0-9]*"; \\
  dmesg | grep -c "omerta output: " | sed "s/^/logged /"; \\
  wg show wg0 | grep endpoint; ip -4 route show default; systemctl is-system-running; \\
  df --output=size -BM / | tail -1; echo REPORT-END ) >/dev/console 2>&1'
[Install]
WantedBy=multi-user.target
`;
    const data = parse(seed.userData, { version: "1.1" });
    data.write_files.push({ path: "/etc/systemd/system/report.service", content: report });
    data.runcmd.push(["systemctl", "enable", "report.service"], ["systemctl", "reboot"]);
    const userData = `#cloud-config\n${stringify(data, { version: "1.1" })}`;
    await using guest = await bootPlain({
      image,
      network: deadCable(folder.path),
      seed: seedOf({ ...seed, userData }),
    });
    await guest.waitFor(DONE, BOOT_MS);
    await guest.waitFor(/REPORT-END/, BOOT_MS);
    await guest.waitFor(/web-1 login:/, BOOT_MS);
    const text = guest.text();
    assert.ok(!text.includes("OMERTA-FAULT"), text.slice(-2000));
    assert.equal(text.match(/Linux version /g)?.length, 2);
    const [, said = ""] = /REPORT-BEGIN([\s\S]*)REPORT-END/.exec(text) ?? [];
    assert.match(said, /drop-policies 3/);
    // It does not only stand there: what goes by the cable is refused, counted and logged.
    assert.match(said, /packets [1-9]/);
    assert.match(said, /logged [1-9]/);
    assert.match(said, /endpoint.*192\.168\.100\.1:51820/);
    assert.match(said, /default dev wg0/);
    // The disk of the VM is 4 GiB, the file system in the image 2 GiB.
    const [, size] = /\s(\d+)M/.exec(said) ?? [];
    assert.ok(Number(size) > 3000, said);
  },
});

Deno.test({
  name: `V3: a guest lets the key's owner in, nobody else, and finds its seed valid${why}`,
  ignore: ignore || commandMissing("ssh") !== undefined,
  async fn(): Promise<void> {
    const image = await guestImage();
    await using folder = await temporaryFolder();
    const user = generateSshKey("tester");
    const { wireguard: _, ...bare } = lent("web-2");
    const options: SeedOptions = {
      ...bare,
      sshAuthorizedKeys: [user.publicLine],
      network: { kind: "dhcp" },
      firewall: false,
    };
    const port = freePort();
    const keyFile = join(folder.path, "key");
    const knownHosts = join(folder.path, "known_hosts");
    await Deno.writeTextFile(keyFile, user.privatePem, { mode: 0o600 });
    await Deno.writeTextFile(
      knownHosts,
      `[127.0.0.1]:${port} ${options.hostKey.publicLine}\n`,
    );
    await using guest = await bootPlain({
      image,
      seed: seedIso(options, new Date()),
      network: [
        "-netdev",
        `user,id=n0,restrict=on,hostfwd=tcp:127.0.0.1:${port}-:22`,
        "-device",
        "virtio-net-pci,netdev=n0",
      ],
    });
    await guest.waitFor(DONE, BOOT_MS);
    const ssh = (login: string, ...command: string[]): ReturnType<typeof run> =>
      run("ssh", [
        ...["-F", "none", "-o", "BatchMode=yes", "-o", "ConnectTimeout=60"],
        ...["-o", "StrictHostKeyChecking=yes", "-o", `UserKnownHostsFile=${knownHosts}`],
        ...["-o", "IdentitiesOnly=yes", "-i", keyFile, "-p", String(port)],
        `${login}@127.0.0.1`,
        ...command,
      ], { timeoutMs: 120_000 });
    const said = await ssh(
      "omerta",
      `hostname; sudo -n cloud-init schema --system; cloud-init status; ls /etc/ssh/ssh_host_*;
       sudo -n sshd -T | grep -E '^(passwordauthentication|permitrootlogin|kbdinteractive)';
       sudo -n passwd -S root; grep -rhoE '(https?|file)://[^/ ]+' /etc/apt | sort -u;
       ls /etc/apt/apt.conf.d; wc -c < /etc/machine-id; python3 -c 'print("python")'`,
    );
    assert.equal(said.code, 0, said.stderr);
    const lines = said.stdout.split("\n");
    assert.equal(lines[0], "web-2");
    assert.match(said.stdout, /Valid cloud-config/);
    assert.match(said.stdout, /status: done/);
    assert.deepEqual(lines.filter((line) => line.startsWith("/etc/ssh/")), [
      "/etc/ssh/ssh_host_ed25519_key",
      "/etc/ssh/ssh_host_ed25519_key.pub",
    ]);
    assert.match(said.stdout, /^passwordauthentication no$/m);
    assert.match(said.stdout, /^permitrootlogin no$/m);
    assert.match(said.stdout, /^kbdinteractiveauthentication no$/m);
    assert.match(said.stdout, /^root L /m);
    // Of the mirror that the image was built from, nothing is left.
    assert.deepEqual(lines.filter((line) => line.includes("://")), ["https://deb.debian.org"]);
    assert.ok(!lines.includes("99mmdebstrap"));
    assert.match(said.stdout, /^33$/m);
    const root = await ssh("root", "true");
    assert.equal(root.code, 255);
    assert.match(root.stderr, /Permission denied/);
  },
});

Deno.test({
  name: `V3: without wg-quick the tunnel is set up all the same, and what cannot be is said${why}`,
  ignore,
  async fn(): Promise<void> {
    const image = await guestImage();
    await using folder = await temporaryFolder();
    const options = lent("web-4");
    const seed = renderSeed(options);
    const data = parse(seed.userData, { version: "1.1" });
    data.runcmd.unshift(["mv", "/usr/bin/wg-quick", "/usr/sbin/nft", "/root"]);
    data.runcmd.push([
      "sh",
      "-c",
      "(echo; wg show wg0 dump; ip -4 addr show wg0; ip -4 route; echo REPORT-END) >/dev/console",
    ]);
    await using guest = await bootPlain({
      image,
      network: deadCable(folder.path),
      seed: seedOf({ ...seed, userData: `#cloud-config\n${stringify(data, { version: "1.1" })}` }),
    });
    await guest.waitFor(/REPORT-END/, BOOT_MS);
    const text = guest.text();
    assert.deepEqual(text.match(/OMERTA-FAULT .*(?=\r)/g), [
      "OMERTA-FAULT firewall: neither nft nor iptables is in this image",
    ]);
    assert.match(text, DONE);
    const { wireguard } = options;
    assert.ok(wireguard);
    const peer = [wireguard.peerPublicKey, wireguard.presharedKey, wireguard.endpoint, "0.0.0.0/0"];
    assert.ok(text.includes(peer.join("\t")), text.slice(-2000));
    assert.match(text, /inet 10\.0\.0\.2\/32 scope global wg0/);
    assert.match(text, /default dev wg0/);
  },
});

const MBR = "/usr/lib/syslinux/mbr/mbr.bin";
const loaderMissing = guestMissing ?? commandMissing("syslinux", "mformat", "mcopy", "sfdisk") ??
  await Deno.stat(MBR).then(() => undefined, () => "needs syslinux-common");

Deno.test({
  name: `V5: an imported disk with its own boot loader boots${
    loaderMissing === undefined ? "" : ` (${loaderMissing})`
  }`,
  ignore: loaderMissing !== undefined || Deno.build.arch !== "x86_64",
  async fn(): Promise<void> {
    const image = await guestImage();
    await using folder = await temporaryFolder();
    const disk = await wholeDisk(image, folder.path);
    const store = await ImageStore.open(join(folder.path, "images"));
    const imported = await importImage({ store, name: "whole", file: disk });
    await Deno.remove(disk);
    assert.deepEqual(imported.boot, { kind: "disk" });
    await using guest = await bootPlain({
      image: imported,
      seed: seedIso(lent("web-3"), new Date()),
      network: deadCable(folder.path),
    });
    await guest.waitFor(DONE, BOOT_MS);
    await guest.waitFor(/web-3 login:/, BOOT_MS);
    assert.ok(!guest.text().includes("OMERTA-FAULT"));
  },
});

const SECTOR = 512;
const FAT_START = 2048;
const FAT_SECTORS = 65536;
const ROOT_START = FAT_START + FAT_SECTORS;

/** A disk with an MBR, a FAT partition with syslinux and kernel, and the image's file system. */
async function wholeDisk(
  image: Awaited<ReturnType<typeof guestImage>>,
  folder: string,
): Promise<string> {
  assert.ok(image.boot.kind === "kernel");
  const tool = async (program: string, args: string[], input?: string): Promise<void> => {
    await runChecked(program, args, { cwd: folder, ...(input === undefined ? {} : { input }) });
  };
  await tool("qemu-img", ["convert", "-f", "qcow2", "-O", "raw", image.disk, "root.raw"]);
  const { size } = await Deno.stat(join(folder, "root.raw"));
  const disk = join(folder, "whole.raw");
  await Deno.writeFile(disk, new Uint8Array(0));
  await Deno.truncate(disk, ROOT_START * SECTOR + size);
  await tool(
    "sfdisk",
    ["--quiet", disk],
    `label: dos
start=${FAT_START}, size=${FAT_SECTORS}, type=c, bootable
start=${ROOT_START}, type=83
`,
  );
  await Deno.writeTextFile(
    join(folder, "syslinux.cfg"),
    `SERIAL 0 115200
DEFAULT linux
LABEL linux
  KERNEL vmlinuz
  INITRD initrd
  APPEND root=/dev/vda2 ro console=ttyS0
`,
  );
  await Deno.writeFile(join(folder, "fat.img"), new Uint8Array(FAT_SECTORS * SECTOR));
  await tool("mformat", [
    ...["-i", "fat.img", "-T", String(FAT_SECTORS), "-H", String(FAT_START)],
    ...["-h", "16", "-s", "63", "::"],
  ]);
  const files = ["-i", "fat.img", image.boot.kernel, image.boot.initrd, "syslinux.cfg", "::"];
  await tool("mcopy", files);
  await tool("syslinux", ["--install", "fat.img"]);
  await tool("dd", ["if=fat.img", `of=${disk}`, `seek=${FAT_START}`, "conv=notrunc"]);
  await tool("dd", [
    ...["if=root.raw", `of=${disk}`, "bs=1M", `seek=${ROOT_START * SECTOR / 2 ** 20}`],
    "conv=notrunc,sparse",
  ]);
  await tool("dd", [
    ...[`if=${MBR}`, `of=${disk}`, "bs=440", "count=1", "conv=notrunc"],
  ]);
  for (const name of ["root.raw", "fat.img"]) await Deno.remove(join(folder, name));
  return disk;
}

function freePort(): number {
  using listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  return listener.addr.port;
}
