/**
 * The kernel's own list of maps and programs, for tests that count what is left.
 *
 * @module
 */

import { addressOf, fixedBytes, needLibc } from "../../net/os/libc.ts";

const NR_BPF = Deno.build.arch === "aarch64" ? 280n : 321n;
/** BPF_PROG_GET_NEXT_ID, BPF_PROG_GET_FD_BY_ID; name in `struct bpf_prog_info`. */
const PROGRAMS = { next: 11, open: 13, name: 64 } as const;
/** BPF_MAP_GET_NEXT_ID, BPF_MAP_GET_FD_BY_ID; name in `struct bpf_map_info`. */
const MAPS = { next: 12, open: 14, name: 24 } as const;
const OBJ_GET_INFO_BY_FD = 15;
const ATTR_LEN = 128;
const INFO_LEN = 256;
const NAME_LEN = 16;

/**
 * Tells, at each call, which maps and programs have come since this one: id and name of those whose
 * name begins with `prefix`.
 */
export function newBpfObjects(prefix: string): () => string[] {
  const before = new Set(bpfObjects(prefix));
  return () => bpfObjects(prefix).filter((object) => !before.has(object));
}

function bpfObjects(prefix: string): string[] {
  const c = needLibc("list maps and programs");
  const names: string[] = [];
  for (const kind of [PROGRAMS, MAPS]) {
    for (let id = 0;;) {
      const attr = fixedBytes(ATTR_LEN);
      const view = new DataView(attr.buffer);
      view.setUint32(0, id, true);
      if (c.call.syscall(NR_BPF, kind.next, attr, ATTR_LEN) < 0) break;
      id = view.getUint32(4, true);
      attr.fill(0);
      view.setUint32(0, id, true);
      const fd = c.call.syscall(NR_BPF, kind.open, attr, ATTR_LEN);
      if (fd < 0) continue; // gone meanwhile
      const info = fixedBytes(INFO_LEN);
      attr.fill(0);
      view.setUint32(0, fd, true);
      view.setUint32(4, INFO_LEN, true);
      view.setBigUint64(8, addressOf(info), true);
      c.call.syscall(NR_BPF, OBJ_GET_INFO_BY_FD, attr, ATTR_LEN);
      c.call.close(fd);
      const bytes = info.subarray(kind.name, kind.name + NAME_LEN);
      const name = new TextDecoder().decode(bytes).replace(/\0.*$/s, "");
      if (name.startsWith(prefix)) names.push(`${kind.name} ${id} ${name}`);
    }
  }
  return names;
}
