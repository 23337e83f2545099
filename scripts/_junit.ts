/**
 * Counting what one `deno test --junit-path` wrote.
 *
 * @module
 */

/** What the tests of one file came to. Steps count with the test they belong to. */
export interface Counts {
  /** Tests that ran and passed. */
  passed: number;
  /** Tests that ran and failed, and files that could not be run. */
  failed: number;
  /** Names of the tests that were left out; the reason is in the name. */
  skipped: string[];
}

const TEST_CASE = /<testcase name="([^"]*)"[^>]*>([\s\S]*?)<\/testcase>/g;

/** Counts the tests in a JUnit report as Deno writes it. */
export function countTests(report: string): Counts {
  const counts: Counts = { passed: 0, failed: 0, skipped: [] };
  const cases = [...report.matchAll(TEST_CASE)];
  const names = new Set(cases.map(([, name]) => name ?? ""));
  for (const [, name = "", body = ""] of cases) {
    if (isStep(name, names)) continue;
    if (body.includes("<failure")) counts.failed++;
    else if (body.includes("<skipped")) counts.skipped.push(unescape(name));
    else counts.passed++;
  }
  return counts;
}

/** A step is reported as `test > step`. */
function isStep(name: string, names: ReadonlySet<string>): boolean {
  for (let at = name.indexOf(" &gt; "); at >= 0; at = name.indexOf(" &gt; ", at + 1)) {
    if (names.has(name.slice(0, at))) return true;
  }
  return false;
}

function unescape(text: string): string {
  return text.replaceAll("&lt;", "<").replaceAll("&gt;", ">").replaceAll("&quot;", '"')
    .replaceAll("&apos;", "'").replaceAll("&amp;", "&");
}
