/**
 * Where this host gets Debian's packages from, so that a build works behind a mirror too.
 *
 * @module
 */

import { OmertaError } from "../../lib/core/errors.ts";
import { run } from "../../lib/core/process.ts";

/** What mmdebstrap needs to know about the host's package sources. */
export interface AptSources {
  /** `deb URI suite component` lines; empty: Debian's own servers. */
  readonly lines: readonly string[];
  /** apt.conf(5) settings that must hold in the build too. */
  readonly options: readonly string[];
  /** Proxies, as environment variables: unlike options they are in no process list. */
  readonly env: Readonly<Record<string, string>>;
}

/** Settings of a host whose mirror is a snapshot, or slow. */
const OPTIONS_REGEXP = /^Acquire::(?:Check-Valid-Until|Check-Date|Retries) "[^"]*";$/;
const PROXY_REGEXP = /^Acquire::(https?)::proxy "([^"]+)";$/i;

/** The host's Debian sources, for `suite`; a host of another release of Debian has the same mirror. */
export async function aptSources(suite: string): Promise<AptSources> {
  const indexes = await output("apt-get", [
    "indextargets",
    "--format",
    "$(ORIGIN) $(REPO_URI) $(RELEASE) $(COMPONENT)",
    "Created-By: Packages",
  ]);
  const config = await output("apt-config", ["dump"]);
  const lines = new Set(
    indexes.flatMap((line) => {
      const [origin, uri, release = "", component] = line.split(" ");
      const [, pocket = ""] = /^[a-z]+((?:-updates|-security)?)$/.exec(release) ?? [];
      const own = origin === "Debian" && component === "main" && /^[a-z]+(?:-updates|-security)?$/
        .test(release);
      return own ? [`deb ${uri} ${suite}${pocket} main`] : [];
    }),
  );
  const proxies = config.flatMap((line) => {
    const [, scheme = "", proxy = ""] = PROXY_REGEXP.exec(line) ?? [];
    return proxy === "" ? [] : [[`${scheme.toLowerCase()}_proxy`, proxy] as const];
  });
  return {
    lines: [...lines],
    options: config.filter((line) => OPTIONS_REGEXP.test(line)),
    env: Object.fromEntries(proxies),
  };
}

/** Lines that a program prints; none where it does not exist: not a Debian. */
async function output(program: string, args: readonly string[]): Promise<string[]> {
  try {
    return (await run(program, args)).stdout.split("\n");
  } catch (error) {
    if (error instanceof OmertaError && error.code === "program-missing") return [];
    throw error;
  }
}
