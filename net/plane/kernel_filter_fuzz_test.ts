/**
 * The kernel's half of the filter against the other one, on the same changed frames: the kernel runs
 * the loaded programs on each (BPF_PROG_TEST_RUN), attached to nothing.
 *
 * @module
 */

import assert from "node:assert/strict";
import { changedFrame } from "../../tests/doubles/changed_frames.ts";
import { captured } from "../../tests/doubles/captured_frames.ts";
import { guestFrame, wireguardMessage } from "../../tests/doubles/guest_frames.ts";
import { MemoryDatagramSink, MemoryPacketSink } from "../../tests/doubles/memory_sink.ts";
import { Random } from "../../tests/doubles/random.ts";
import { bpfMissing } from "../../tests/support/bpf.ts";
import { testIf } from "../../tests/support/requires.ts";
import { TC_ACT } from "../os/bpf_linux.ts";
import { Endpoint } from "../os/endpoint.ts";
import { writeU16 } from "../wire/bytes.ts";
import { checksum, pseudoHeaderSum } from "../wire/checksum.ts";
import { parseIpv4 } from "../wire/ip_address.ts";
import { ipv4HeaderSum, PROTOCOL } from "../wire/ipv4.ts";
import { mac1Key } from "../wireguard/mac1.ts";
import { mac } from "../wireguard/noise.ts";
import { KIND, kindOf } from "./demux.ts";
import { SwitchPort, WireguardSwitch } from "./wireguard_switch.ts";
import { FilteredNat } from "../filter/filtered_nat.ts";
import { guestLink } from "../filter/guest_link.ts";
import { REASONS, VERDICT, type Verdict } from "../filter/verdict.ts";
import { KernelPrograms } from "../filter/ebpf/kernel_filter.ts";
import { isTriable, rehearseInKernel } from "../filter/ebpf/kernel_rehearsal.ts";
import { rehearseRules } from "../filter/rehearsal.ts";

/** Frames of one run; `deno task fuzz` sets more. */
const FRAMES = Number(Deno.env.get("OMERTA_FUZZ_FRAMES") ?? 100_000);
const HOST = 0xc0a80164;
const BORROWER = 0xcb007107;
const BORROWER_PORT = 51999;
const NODE_PORT = 51820;
const UPLINK = {
  ifindex: 1,
  hostAddress: HOST,
  borrowerAddress: BORROWER,
  borrowerPort: BORROWER_PORT,
};
const OPTIONS = {
  link: guestLink(),
  mac1Key: new Uint8Array(32),
  nodePort: NODE_PORT,
  tapIndex: 1,
};

function borrower(): Endpoint {
  const made = Endpoint.of("203.0.113.7", BORROWER_PORT);
  assert.ok(made);
  return made;
}

/** Counts one way, as they were before. */
class Counted {
  readonly #way: "fromGuest" | "fromUplink";
  readonly #programs: KernelPrograms;
  #before: Float64Array;

  constructor(programs: KernelPrograms, way: "fromGuest" | "fromUplink") {
    this.#way = way;
    this.#programs = programs;
    this.#before = programs.counters()[way];
  }

  /** What was counted since the last call; exactly one, or undefined. */
  verdict(): Verdict | undefined {
    const now = this.#programs.counters()[this.#way];
    const changed = [...now.keys()].filter((i) => now[i] !== this.#before[i]);
    this.#before = now;
    assert.ok(changed.length <= 1, `${changed.map((i) => REASONS[i])}`);
    return changed[0] as Verdict | undefined;
  }
}

/** Takes the datagram to the borrower apart, beside what the guest sent. */
function assertToBorrower(sent: Uint8Array, frame: Uint8Array, context: string): void {
  assert.equal(sent.length, frame.length, context);
  const hex = sent.toHex();
  const total = (frame.length - 14).toString(16).padStart(4, "0");
  assert.match(hex.slice(28), new RegExp(`^4500${total}....00004011....c0a80164cb007107`), context);
  assert.equal(ipv4HeaderSum(sent, 14), 0xffff, context);
  const length = (frame.length - 34).toString(16).padStart(4, "0");
  assert.equal(hex.slice(68, 80), `ca6ccb1f${length}`, context);
  assert.deepEqual(sent.subarray(42), frame.subarray(42), context);
  // The guest's checksum is carried over: none stays none, a right one is right, a wrong one wrong.
  const before = udpSum(frame, 0xc0a86402, 0xc0a86401);
  if (before === undefined) assert.equal(hex.slice(80, 84), "0000", context);
  else assert.equal(udpSum(sent, HOST, BORROWER) === 0, before === 0, context);
}

/** 0 when the UDP checksum of a frame is right; undefined when it has none. */
function udpSum(frame: Uint8Array, source: number, destination: number): number | undefined {
  if (frame[40] === 0 && frame[41] === 0) return undefined;
  const length = frame.length - 34;
  return checksum(frame, 34, length, pseudoHeaderSum(source, destination, PROTOCOL.udp, length));
}

testIf(
  bpfMissing,
  `N14: the kernel agrees with FilteredNat on ${FRAMES} changed frames of a guest`,
  () => {
    const seed = crypto.getRandomValues(new Uint32Array(1))[0] ?? 0;
    const random = new Random(seed);
    const toUplink = new MemoryDatagramSink({ capacity: 4 });
    const toGuest = new MemoryPacketSink({ capacity: 4 });
    const nat = new FilteredNat({ guest: guestLink(), uplink: undefined, toUplink, toGuest });
    using programs = new KernelPrograms(OPTIONS);
    const counted = new Counted(programs, "fromGuest");
    const reached = new Map<string, number>();
    let notTried = 0;

    for (let i = 0; i - notTried < FRAMES; i++) {
      if (i % 100 === 0) {
        const up = i / 100 % 4 !== 3;
        nat.setUplink(up ? borrower() : undefined);
        programs.setUplink(up ? UPLINK : undefined);
      }
      const frame = changedFrame(random);
      const context = `seed ${seed}, frame ${i}: ${frame.toHex()}`;
      const verdict = nat.fromGuest(frame, 0, frame.length);
      const word = REASONS[verdict] ?? "";
      if (!isTriable(frame)) {
        assert.ok(++notTried < FRAMES, "hardly a frame can be tried");
        continue;
      }
      const { result, packet } = programs.fromGuest.trial(frame);
      assert.equal(REASONS[counted.verdict() ?? -1], word, context);
      toUplink.take();
      toGuest.take();
      const passes = verdict === VERDICT.forwarded || verdict === VERDICT.answered;
      assert.equal(result, passes ? TC_ACT.REDIRECT : TC_ACT.SHOT, context);
      if (verdict === VERDICT.forwarded) assertToBorrower(packet, frame, context);
      if (verdict === VERDICT.answered) assert.deepEqual(packet, captured("arpReply"), context);
      reached.set(word, (reached.get(word) ?? 0) + 1);
    }

    // The control: the changes reached every rule often, and good frames were among them.
    const never = ["no-room", "no-flow", "sender", "cut-off"];
    for (const word of REASONS) {
      if (never.includes(word)) continue;
      assert.ok((reached.get(word) ?? 0) >= 50, `${word}: ${reached.get(word)}, seed ${seed}`);
    }
    const refused = programs.refused();
    assert.equal(refused.length, 64);
    for (const frame of refused) assert.ok(Math.abs(Date.now() - frame.time) < 60_000);
  },
);

testIf(
  bpfMissing,
  "N15: rehearseInKernel() says of each frame what the rules say, and counts nothing",
  () => {
    const random = new Random(7);
    const frames = Array.from({ length: 500 }, () => changedFrame(random));
    const options = { ...OPTIONS, uplink: borrower() };
    for (const way of [UPLINK, undefined]) {
      const found = rehearseInKernel({ ...options, way }, frames);
      assert.deepEqual(found, rehearseRules(OPTIONS.link, way && borrower(), frames));
    }
    const good = rehearseInKernel({ ...options, way: UPLINK }, [
      guestFrame(),
      captured("arpRequest"),
    ]);
    assert.deepEqual(good.map(({ out, action }) => [out, action]), [
      ["uplink", "none"],
      ["guest", "none"],
    ]);
  },
);

/** What comes in by the uplink's interface: UDP around `payload`, from the borrower by default. */
function incoming(payload: Uint8Array, from = BORROWER, port = BORROWER_PORT): Uint8Array {
  // A trial run is one at the loopback interface, whose MAC address is zero.
  const frame = guestFrame({ source: from, destination: HOST, destinationMac: 0, payload });
  writeU16(frame, 34, port);
  writeU16(frame, 36, NODE_PORT);
  writeU16(frame, 40, 0);
  const length = frame.length - 34;
  const sum = checksum(frame, 34, length, pseudoHeaderSum(from, HOST, PROTOCOL.udp, length));
  writeU16(frame, 40, sum || 0xffff);
  return frame;
}

/** A message with an index at `at`. */
function indexed(length: number, type: number, at: number, index: number): Uint8Array {
  const message = wireguardMessage(length, type);
  new DataView(message.buffer).setUint32(at, index, true);
  return message;
}

/** An initiation with the right mac1 for `publicKey`. */
function initiation(publicKey: Uint8Array, sender: number): Uint8Array {
  const message = indexed(148, 1, 4, sender);
  crypto.getRandomValues(message.subarray(8, 116));
  message.set(mac(mac1Key(publicKey), message.subarray(0, 116)), 116);
  return message;
}

/** Both halves side by side: switch and filter of the packet thread, programs of the kernel. */
class Pair implements Disposable {
  readonly publicKey = crypto.getRandomValues(new Uint8Array(32));
  readonly programs = new KernelPrograms({ ...OPTIONS, mac1Key: mac1Key(this.publicKey) });
  readonly #toUplink = new MemoryDatagramSink({ capacity: 4 });
  readonly #toGuest = new MemoryPacketSink({ capacity: 4 });
  readonly #nat = new FilteredNat({
    ...{ guest: guestLink(), uplink: borrower() },
    ...{ toUplink: this.#toUplink, toGuest: this.#toGuest },
  });
  readonly #port = new SwitchPort("guest", this.publicKey, borrower());
  readonly #switch = new WireguardSwitch<string>();
  readonly #counted: Counted;

  constructor() {
    this.#switch.add(this.#port);
    this.programs.setUplink(UPLINK);
    this.#counted = new Counted(this.programs, "fromUplink");
  }

  /** The guest sends; both learn. */
  send(payload: Uint8Array): void {
    const frame = guestFrame({ sourcePort: 40000, payload });
    if (this.#nat.fromGuest(frame, 0, frame.length) === VERDICT.forwarded) {
      this.#switch.learn(this.#port, frame, 42, frame.length - 42);
    }
    this.programs.fromGuest.trial(frame);
    this.#toUplink.take();
  }

  /** The borrower sends, or somebody else; both must do the same. @returns What was done. */
  receive(payload: Uint8Array, context: string, from = borrower()): string {
    const isWireguard = kindOf(payload, 0, payload.length) === KIND.wireguard;
    const owner = isWireguard &&
      this.#switch.route(payload, 0, payload.length, from.sockaddr, 0);
    const want = owner
      ? REASONS[this.#nat.fromUplink(payload, 0, payload.length, from.sockaddr, 0)] ?? ""
      : "pass";
    const address = parseIpv4(from.address) ?? 0;
    const frame = incoming(payload, address, from.port);
    const { result, packet } = this.programs.fromUplink.trial(frame);
    const verdict = this.#counted.verdict();
    const got = verdict === undefined ? "pass" : REASONS[verdict];
    assert.equal(got, want, `${context}: ${payload.toHex()}`);
    const frames = this.#toGuest.take();
    if (want === "forwarded") {
      assert.equal(result, TC_ACT.REDIRECT);
      assert.deepEqual(packet, frames[0], context);
    } else {
      assert.equal(result, want === "pass" ? TC_ACT.UNSPEC : TC_ACT.SHOT, context);
      if (want === "pass") assert.deepEqual(packet, frame, context);
    }
    return want;
  }

  [Symbol.dispose](): void {
    this.programs[Symbol.dispose]();
  }
}

testIf(
  bpfMissing,
  "N14: the kernel takes the guest's messages and no others, as the packet thread",
  () => {
    const seed = crypto.getRandomValues(new Uint32Array(1))[0] ?? 0;
    const random = new Random(seed);
    const reached = new Map<string, number>();
    for (let round = 0; round < 40; round++) {
      using pair = new Pair();
      const sent: number[] = [];
      for (let i = 0; i < Math.min(500, FRAMES / 200); i++) {
        const context = `seed ${seed}, round ${round}, ${i}`;
        const index = random.below(4) === 0 || sent.length === 0
          ? 1 + random.below(0xffffffff)
          : sent[Math.max(0, sent.length - 1 - random.below(20))] ?? 0;
        switch (random.below(round === 0 ? 2 : 12)) {
          case 0:
            pair.receive(wireguardMessage(random.below(1490) + 4, random.below(7)), context);
            break;
          case 1:
            count(pair.receive(initiation(pair.publicKey, index), context));
            break;
          case 2:
            count(pair.receive(initiation(new Uint8Array(32), index), context));
            break;
          case 3:
            sent.push(index);
            pair.send(indexed(148, 1, 4, index));
            break;
          case 4:
            sent.push(index);
            pair.send(indexed(92, 2, 4, index));
            break;
          case 5:
            count(pair.receive(indexed(92, 2, 8, index), context));
            break;
          case 6:
            count(pair.receive(indexed(64, 3, 4, index), context));
            break;
          case 7: {
            const other = random.below(2) === 0
              ? Endpoint.of("203.0.113.8", BORROWER_PORT)
              : Endpoint.of("203.0.113.7", 1 + random.below(60000));
            assert.ok(other);
            count(pair.receive(indexed(96, 4, 4, index), context, other));
            break;
          }
          case 8:
            count(pair.receive(indexed(12 + random.below(1490), 4, 4, index), context));
            break;
          default:
            count(pair.receive(indexed(32 + 16 * random.below(90), 4, 4, index), context));
        }
      }
    }
    function count(word: string): void {
      reached.set(word, (reached.get(word) ?? 0) + 1);
    }
    for (const word of ["forwarded", "pass", "no-flow", "not-wireguard", "too-long"]) {
      assert.ok((reached.get(word) ?? 0) >= 10, `${word}: ${reached.get(word)}, seed ${seed}`);
    }
  },
);

testIf(
  bpfMissing,
  "N14: the kernel takes joined datagrams when all are the guest's, or none",
  () => {
    using pair = new Pair();
    pair.send(indexed(148, 1, 4, 77));
    const join = (size: number, ...parts: readonly Uint8Array[]): [number, Uint8Array] => {
      const { result, packet } = pair.programs.fromUplink.trial(
        incoming(new Uint8Array(parts.flatMap((part) => [...part]))),
        1,
        size,
      );
      return [result, packet];
    };
    const data = (length: number, index = 77): Uint8Array => indexed(length, 4, 4, index);
    const [result, packet] = join(96, data(96), data(96), data(96), data(48));
    assert.equal(result, TC_ACT.REDIRECT);
    assert.equal(packet.length, 42 + 3 * 96 + 48);
    assert.equal(udpSum(packet, 0xc0a86401, 0xc0a86402), 0);
    assert.equal(pair.programs.counters().fromUplink[VERDICT.forwarded], 4);
    assert.equal(pair.programs.counters().bytesToGuest, 3 * 96 + 48);
    const refused: readonly [number, ...Uint8Array[]][] = [
      [96, data(96), data(96, 78)],
      [96, data(96, 78), data(96)],
      [96, data(96), data(96), data(40)],
      [40, data(40), data(40)],
      [148, data(144), indexed(148, 1, 4, 77)],
      [16, data(16), data(16), data(16)],
    ];
    for (const [size, ...parts] of refused) assert.equal(join(size, ...parts)[0], TC_ACT.UNSPEC);
    assert.equal(pair.programs.counters().fromUplink[VERDICT.forwarded], 4);
  },
);
