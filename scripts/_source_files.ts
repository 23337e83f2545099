/**
 * Which files are ours.
 *
 * @module
 */

/** Folders that hold what is fetched or made, not what is written. */
const NOT_OURS = new Set([".git", ".tools", "dist", "coverage", "node_modules", "tests/tmp"]);

/** Every `.ts` file below `root`, relative to it, sorted. */
export async function sourceFiles(root: string, folder = ""): Promise<string[]> {
  const files: string[] = [];
  for await (const entry of Deno.readDir(`${root}/${folder}`)) {
    const path = folder === "" ? entry.name : `${folder}/${entry.name}`;
    if (entry.isDirectory && !NOT_OURS.has(path)) files.push(...await sourceFiles(root, path));
    else if (entry.isFile && path.endsWith(".ts")) files.push(path);
  }
  return files.sort();
}
