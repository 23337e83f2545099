/**
 * Which program this is and in which form it runs.
 *
 * @module
 */

import project from "../../deno.json" with { type: "json" };

/** Version of the program. */
export const VERSION: string = project.version;

/** How the program was started. */
export type Form = "compiled" | "self-extracting" | "source";

/** The form of this program: one compiled file, one self-extracting file, or its source. */
export function formOf(): Form {
  if (Deno.build.standalone) return "compiled";
  return Deno.env.get("OMERTA_FORM") === "self-extracting" ? "self-extracting" : "source";
}

/**
 * The command that starts this program again with other arguments.
 *
 * @param mainModule URL of the main module.
 */
export function selfCommand(mainModule: string): { program: string; args: string[] } {
  const self = Deno.env.get("OMERTA_SELF");
  if (self !== undefined) return { program: self, args: [] };
  if (Deno.build.standalone) return { program: Deno.execPath(), args: [] };
  return { program: Deno.execPath(), args: ["run", "--quiet", "-A", mainModule] };
}
