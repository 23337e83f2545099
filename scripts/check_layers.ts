/**
 * Fails when an import goes up or sideways, reaches for another folder's private file, makes a circle,
 * or takes test code into the program.
 *
 * ```
 * deno run -A scripts/check_layers.ts [ROOT]
 * ```
 *
 * @module
 */

import { join } from "node:path";
import { type Import, importsOf } from "./_import_graph.ts";
import { sourceFiles } from "./_source_files.ts";

/** What a layer may import besides itself. */
interface Layer {
  /** Layers, and everything below them by name: `net/` is every layer that begins so. */
  readonly may: readonly string[];
  /** Layers of which it may use the types only. */
  readonly types?: readonly string[];
  /** Whether it may import packages and the runtime's modules. @default {true} */
  readonly packages?: boolean;
}

/**
 * The layers, from the top down; a folder belongs to the longest name that it begins with. It is the
 * table of docs/architecture.md.
 */
export const LAYERS: Readonly<Record<string, Layer>> = {
  "mod.ts": { may: ["lib/", "vm", "net/"] },
  "cli": { may: ["lib/", "vm", "net/", "cloud-init"] },
  "lib/prove": { may: ["lib/pair", "lib/api", "lib/node", "net/", "lib/core", "cloud-init"] },
  "lib/pair": { may: ["lib/api", "lib/node", "vm", "lib/core"] },
  "lib/api": { may: ["lib/node", "lib/core"] },
  "lib/node": { may: ["vm", "net/", "lib/core"] },
  "vm": { may: ["lib/core", "cloud-init"], types: ["net/filter"] },
  "net/plane": {
    may: [
      "net/filter",
      "net/proxy",
      "net/vlan",
      "net/tunnel",
      "net/mesh",
      "net/tcp",
      "net/wireguard",
      "net/os",
      "net/wire",
      "lib/core",
    ],
  },
  "net/proxy": { may: ["net/vlan", "net/tcp", "net/os", "net/wire", "lib/core"] },
  "net/vlan": { may: ["net/tunnel", "net/tcp", "net/wire", "net/os", "lib/core"] },
  "net/tunnel": { may: ["net/mesh", "lib/core"] },
  "net/mesh": { may: ["net/wireguard", "net/wire", "net/os", "lib/core"] },
  "net/wireguard": { may: ["net/wire", "net/os", "lib/core"] },
  // It does no I/O; of net/os it knows the shape of what takes its packets (sink.ts).
  "net/tcp": { may: ["net/wire"], types: ["net/os"] },
  "net/filter": { may: ["net/wire", "net/os"] },
  "net/os": { may: ["net/wire", "lib/core"] },
  "net/wire": { may: [], packages: false },
  "lib/core": { may: ["deno.json"] },
  "cloud-init": { may: [], packages: false },
  "deno.json": { may: [], packages: false },
};

/** Folders that may import anything, and that nothing else may import. */
const OUTSIDE = ["tests", "scripts"];

/** Tests, and what they share within a folder. */
const TEST_FILE = /_(test|fixture)\.ts$/;
const FIXTURE = /_fixture\.ts$/;

function isIn(path: string, folder: string): boolean {
  return path === folder || path.startsWith(`${folder}/`);
}

/** Name of the layer that a file belongs to. */
export function layerOf(path: string): string | undefined {
  return Object.keys(LAYERS).filter((name) => isIn(path, name))
    .sort((a, b) => b.length - a.length)[0];
}

function allows(list: readonly string[], layer: string): boolean {
  return list.some((name) => name.endsWith("/") ? layer.startsWith(name) : layer === name);
}

/** What is wrong with one import, in words; undefined when nothing is. */
function faultOf({ from, to, typeOnly }: Import): string | undefined {
  if (OUTSIDE.some((folder) => isIn(from, folder))) return privateFault(from, to);
  const isTest = TEST_FILE.test(from);
  const own = layerOf(from);
  if (own === undefined) return "is in no layer";
  const layer = LAYERS[own];
  if (to.includes(":")) {
    if (layer?.packages !== false || isTest) return undefined;
    return `${own} imports no packages`;
  }
  if (OUTSIDE.some((folder) => isIn(to, folder))) {
    return isTest && isIn(to, "tests") ? privateFault(from, to) : `only tests may import ${to}`;
  }
  if (!isTest && FIXTURE.test(to)) return `only tests may import ${to}`;
  const other = layerOf(to);
  if (other === undefined) return `${to} is in no layer`;
  const fine = other === own || allows(layer?.may ?? [], other) || (isTest && other === "lib/core");
  if (fine) return privateFault(from, to);
  if (allows(layer?.types ?? [], other)) {
    return typeOnly ? privateFault(from, to) : `${own} may import only types of ${other}`;
  }
  return `${own} may not import ${other}`;
}

function privateFault(from: string, to: string): string | undefined {
  const folder = to.slice(0, to.lastIndexOf("/") + 1);
  const isPrivate = to.slice(folder.length).startsWith("_");
  if (!isPrivate || from.slice(0, from.lastIndexOf("/") + 1) === folder) return undefined;
  return `${to} is private to its folder`;
}

/** The circles among imports, each as its files in order, found once. */
export function circlesOf(imports: readonly Import[]): string[][] {
  const next = Map.groupBy(imports, ({ from }) => from);
  const circles: string[][] = [];
  const done = new Set<string>();
  const path: string[] = [];
  const visit = (file: string): void => {
    const at = path.indexOf(file);
    if (at >= 0) circles.push(path.slice(at));
    if (at >= 0 || done.has(file)) return;
    path.push(file);
    for (const { to } of next.get(file) ?? []) visit(to);
    path.pop();
    done.add(file);
  };
  for (const file of next.keys()) visit(file);
  return circles;
}

/** Everything that is wrong with the imports, one line each. */
export function faultsOf(imports: readonly Import[]): string[] {
  const faults = imports.flatMap((one) => {
    const fault = faultOf(one);
    return fault === undefined ? [] : [`${one.from}:${one.line}: ${fault}`];
  });
  for (const circle of circlesOf(imports)) {
    faults.push(`${circle[0]}: imports go in a circle: ${[...circle, circle[0]].join(" -> ")}`);
  }
  return faults;
}

if (import.meta.main) {
  const root = Deno.args[0] ?? join(import.meta.dirname ?? ".", "..");
  const faults = faultsOf(await importsOf(root, await sourceFiles(root)));
  const text = faults.map((fault) => `${fault}\n`).join("");
  await Deno.stderr.write(new TextEncoder().encode(text));
  Deno.exit(faults.length === 0 ? 0 : 1);
}
