#!/usr/bin/env bash
# Sets everything up and runs every test; the last line is "N passed, N failed" (and what was skipped).
# Arguments go to scripts/run_tests.ts, e.g. `scripts/test.sh --group unit` or paths of test files.
set -uo pipefail
here=$(dirname "${BASH_SOURCE[0]}")
. "$here/lib.sh"

# Whatever happens, somebody who reads only the last line learns that it did not work.
trap '[ "${done_line:-no}" = yes ] || say "0 passed, 1 failed"' EXIT

"$here/bootstrap.sh" --tests || exit 1
need_deno
cd "$ROOT" || exit 1

"$DENO" run --quiet --no-prompt --allow-all scripts/run_tests.ts "$@"
code=$?
# 0: all passed, 1: the runner has counted and said so; anything else: it did not get that far.
[ $code -gt 1 ] || done_line=yes
exit $code
