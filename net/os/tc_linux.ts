/**
 * TC programs by rtnetlink: the clsact qdisc of an interface and the filters at its entrance, as
 * `tc filter add dev X ingress bpf direct-action` makes them. They stay when the process ends, and
 * go with the interface.
 *
 * @module
 */

import {
  ask,
  attribute,
  attributesOf,
  joined,
  NetlinkError,
  NLM_F,
  text,
  textOf,
  u32,
} from "./_netlink.ts";
import type { BpfProgram } from "./bpf_linux.ts";
import { ERRNO } from "./libc.ts";

const RTM = { newQdisc: 36, delQdisc: 37, newFilter: 44, delFilter: 45, getFilter: 46 } as const;
const TCMSG_LEN = 20;
const TCA = { kind: 1, options: 2 } as const;
const TCA_BPF = { fd: 6, name: 7, flags: 8 } as const;
/** TCA_BPF_FLAG_ACT_DIRECT: what the program returns is what happens. */
const ACT_DIRECT = 1;
const CLSACT_HANDLE = 0xffff0000;
const CLSACT_PARENT = 0xfffffff1;
const INGRESS = 0xfffffff2;
const EGRESS = 0xfffffff3;
/** Place of our filters among those of an interface; one place takes many filters. */
const PRIORITY = 0xa0e7;
/** ETH_P_ALL in network order. */
const ALL_PROTOCOLS = 0x0300;

function tcmsg(ifindex: number, handle: number, parent: number, info: number): Uint8Array {
  const out = new Uint8Array(TCMSG_LEN);
  const view = new DataView(out.buffer);
  view.setInt32(4, ifindex, true);
  view.setUint32(8, handle, true);
  view.setUint32(12, parent, true);
  view.setUint32(16, info, true);
  return out;
}

const FILTER_INFO = (PRIORITY << 16 | ALL_PROTOCOLS) >>> 0;

/** A filter at the entrance of an interface. */
export interface TcFilter {
  /** Interface. */
  readonly ifindex: number;
  /** Number among our filters of this interface. */
  readonly handle: number;
  /** What it was called when it was attached. */
  readonly name: string;
}

/**
 * Attaches a program at the entrance of an interface, and the qdisc that it needs.
 *
 * @param handle Number among our filters of this interface, not 0.
 * @param name For those who list filters; this is how it is found again.
 * @throws {OmertaError} `netlink-failed`.
 */
export function addTcFilter(
  program: BpfProgram,
  ifindex: number,
  handle: number,
  name: string,
): void {
  const what = `attach a program to interface ${ifindex}`;
  const qdisc = joined(
    tcmsg(ifindex, CLSACT_HANDLE, CLSACT_PARENT, 0),
    attribute(TCA.kind, text("clsact")),
  );
  try {
    ask(what, RTM.newQdisc, NLM_F.ack | NLM_F.create | NLM_F.excl, qdisc);
  } catch (error) {
    if (!(error instanceof NetlinkError) || error.errno !== ERRNO.EEXIST) throw error;
  }
  const filter = joined(
    tcmsg(ifindex, handle, INGRESS, FILTER_INFO),
    attribute(TCA.kind, text("bpf")),
    attribute(
      TCA.options,
      joined(
        attribute(TCA_BPF.fd, u32(program.fd)),
        attribute(TCA_BPF.name, text(name)),
        attribute(TCA_BPF.flags, u32(ACT_DIRECT)),
      ),
    ),
  );
  ask(what, RTM.newFilter, NLM_F.ack | NLM_F.create | NLM_F.excl, filter);
}

/**
 * Detaches a program, and takes the qdisc away when it has no filter left; nothing when neither is
 * there any more.
 *
 * @throws {OmertaError} `netlink-failed`.
 */
export function removeTcFilter({ ifindex, handle }: Pick<TcFilter, "ifindex" | "handle">): void {
  const what = `detach a program from interface ${ifindex}`;
  const filter = joined(
    tcmsg(ifindex, handle, INGRESS, FILTER_INFO),
    attribute(TCA.kind, text("bpf")),
  );
  ignoringGone(() => ask(what, RTM.delFilter, NLM_F.ack, filter));
  ignoringGone(() => {
    if (filtersAt(ifindex, INGRESS).length + filtersAt(ifindex, EGRESS).length > 0) return;
    ask(what, RTM.delQdisc, NLM_F.ack, tcmsg(ifindex, CLSACT_HANDLE, CLSACT_PARENT, 0));
  });
}

/**
 * The BPF filters at the entrance of an interface, ours and others'.
 *
 * @throws {OmertaError} `netlink-failed`.
 */
export function tcFilters(ifindex: number): TcFilter[] {
  const out: TcFilter[] = [];
  for (const body of filtersAt(ifindex, INGRESS)) {
    const view = new DataView(body.buffer, body.byteOffset);
    const fields = attributesOf(body.subarray(TCMSG_LEN));
    const handle = view.getUint32(8, true);
    const options = attributesOf(fields.get(TCA.options) ?? new Uint8Array());
    const name = textOf(options.get(TCA_BPF.name));
    if (textOf(fields.get(TCA.kind)) === "bpf" && handle !== 0 && name !== undefined) {
      out.push({ ifindex, handle, name });
    }
  }
  return out;
}

function filtersAt(ifindex: number, parent: number): Uint8Array[] {
  const what = `list the programs at interface ${ifindex}`;
  try {
    return ask(what, RTM.getFilter, NLM_F.dump, tcmsg(ifindex, 0, parent, 0));
  } catch (error) {
    // There is no qdisc for filters.
    if (error instanceof NetlinkError && error.errno === ERRNO.EINVAL) return [];
    throw error;
  }
}

/** What is gone already need not be removed. */
function ignoringGone(remove: () => void): void {
  try {
    remove();
  } catch (error) {
    if (!(error instanceof NetlinkError)) throw error;
    const gone: readonly number[] = [ERRNO.ENOENT, ERRNO.ENODEV, ERRNO.EINVAL];
    if (!gone.includes(error.errno)) throw error;
  }
}
