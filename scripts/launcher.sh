#!/bin/bash
# Omerta in one file: this script, and behind it a compressed archive of Deno and the program. They are
# unpacked once into a folder that only its user can read, checked by hash before every use, and
# unpacked again when they are not what they should be.
set -euo pipefail

archive_at=@ARCHIVE_AT@
runtime_sha256=@RUNTIME_SHA256@
program_sha256=@PROGRAM_SHA256@

fail() {
  printf 'omerta: %s\n' "$1" >&2
  exit "${2:-1}"
}

# The system's tools are found even when the caller's PATH has none of them; the program gets the
# caller's PATH as it was.
callers_path=${PATH-}
PATH=$callers_path:/usr/bin:/bin:/usr/sbin:/sbin

# This file, whatever link it was started by.
self=${BASH_SOURCE[0]}
while [ -L "$self" ]; do
  target=$(readlink "$self")
  case $target in
    /*) self=$target ;;
    *) self=${self%/*}/$target ;;
  esac
done
self=$(cd -P "$(dirname "$self")" && pwd)/${self##*/}

# private_folder PARENT NAME: makes PARENT/NAME, or finds it, for this user only. A folder that belongs
# to somebody else (HOME kept by sudo, a shared cache) is not used: they could change what is run.
private_folder() {
  (umask 077 && mkdir -p "$1/$2") 2>/dev/null || return 1
  [ -O "$1" ] && [ -O "$1/$2" ] && [ ! -L "$1/$2" ] && chmod 700 "$1/$2" && [ -w "$1/$2" ] || return 1
  cache=$1/$2
}
{ [ -n "${XDG_CACHE_HOME-}" ] && private_folder "$XDG_CACHE_HOME" omerta; } ||
  { [ -n "${HOME-}" ] && [ -O "$HOME" ] && private_folder "$HOME/.cache" omerta; } ||
  { [ -n "${OMERTA_HOME-}" ] && private_folder "$OMERTA_HOME" run; } ||
  fail "Cannot unpack itself: no folder of this user's own in XDG_CACHE_HOME, HOME/.cache or OMERTA_HOME" 3
folder=$cache/${runtime_sha256:0:8}${program_sha256:0:8}

hash_of() {
  if command -v sha256sum >/dev/null; then sha256sum <"$1"; else shasum -a 256 <"$1"; fi
}

# intact FOLDER: whether both files are there, byte for byte.
intact() {
  [ -x "$1/deno" ] && [ -f "$1/omerta.mjs" ] || return 1
  local runtime program
  program=$(hash_of "$1/omerta.mjs") && [ "${program%% *}" = "$program_sha256" ] || return 1
  runtime=$(hash_of "$1/deno") && [ "${runtime%% *}" = "$runtime_sha256" ]
}

# The folders of older versions stay: one may be running still. Each can be removed by hand.
# Several may start for the first time at once: each unpacks for itself, and renaming a file over one
# with the same content disturbs nobody.
unpack() {
  local fresh
  fresh=$(mktemp -d "$cache/.unpack.XXXXXX") || fail "Cannot unpack itself into $cache: is the disk full?"
  # shellcheck disable=SC2064 # its value now
  trap "rm -rf '${fresh//\'/\'\\\'\'}'" EXIT
  trap 'exit 130' INT
  trap 'exit 143' TERM HUP
  tail -c "+$archive_at" "$self" | tar -xzf - -C "$fresh" ||
    fail "Cannot unpack itself into $cache: is the disk full?"
  intact "$fresh" || fail "Cannot start: $self is damaged; get it again"
  (umask 077 && mkdir -p "$folder")
  mv -f "$fresh/deno" "$fresh/omerta.mjs" "$folder/"
  rm -rf "$fresh"
  trap - EXIT INT TERM HUP
}
intact "$folder" || unpack

# How the program says what it is, and starts itself again in the background.
export OMERTA_FORM=self-extracting
export OMERTA_SELF=$self
# The runtime keeps its own cache here too, and does not look for newer versions of itself.
export DENO_DIR=$cache/deno
export DENO_NO_UPDATE_CHECK=1
name=${0##*/}
PATH=$callers_path
exec -a "$name" "$folder/deno" run --quiet --no-prompt --no-config --no-lock --no-remote --no-npm \
  --allow-all --unstable-net "$folder/omerta.mjs" "$@"
