# shellcheck shell=bash
# What the scripts share: where things are, how they talk, and how the right Deno is found.
# Sourced by bash 3.2 or newer (the one macOS has); defines functions and ROOT, does nothing else.

DENO_VERSION=2.9.6

# The checkout this file is in, whatever the working folder is.
ROOT=$(cd -P "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
# Tools that are fetched for this checkout only; git ignores the folder.
TOOLS=$ROOT/.tools

# The system's own tools (nft, mke2fs, sfdisk) are not on every user's PATH.
PATH=$PATH:/usr/sbin:/sbin

# say WORDS...: one line about what is being done.
say() {
  printf '%s\n' "$*"
}

# fail WORDS...: what could not be done and what to do next; ends the script with exit code 3, which
# means "something is missing on this host".
fail() {
  printf 'error: %s\n' "$*" >&2
  exit 3
}

has() {
  command -v "$1" >/dev/null 2>&1
}

# is_right_deno PROGRAM: whether it is there and has exactly the version this checkout is made for.
is_right_deno() {
  [ "$("$1" --version 2>/dev/null | sed -n '1s/^deno \([0-9.]*\).*/\1/p')" = "$DENO_VERSION" ]
}

# find_deno: sets DENO to the right Deno and puts it first on PATH; fails when there is none yet.
find_deno() {
  if [ -x "$TOOLS/bin/deno" ] && is_right_deno "$TOOLS/bin/deno"; then
    DENO=$TOOLS/bin/deno
    PATH=$TOOLS/bin:$PATH
  elif has deno && is_right_deno deno; then
    DENO=$(command -v deno)
  else
    return 1
  fi
  export PATH DENO
}

# need_deno: find_deno, or an error that says how to get it.
need_deno() {
  find_deno || fail "Cannot find Deno $DENO_VERSION: run $ROOT/scripts/bootstrap.sh first"
}
