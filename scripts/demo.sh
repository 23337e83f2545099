#!/usr/bin/env bash
# Sets everything up, then lends and borrows one VM on this machine: two homes, two network namespaces
# joined by a cable, so that lender and borrower meet as two machines would. Shows each command as a
# user would type it. Whatever it starts or makes is gone when it ends, by Ctrl-C too.
set -euo pipefail
here=$(dirname "${BASH_SOURCE[0]}")
. "$here/lib.sh"

"$here/bootstrap.sh"
need_deno
[ "$(uname -s)" = Linux ] ||
  fail "Cannot show it here: two machines in one need Linux's network namespaces; see README.md for two real ones"
if [ "$(id -u)" != 0 ]; then
  has sudo || fail "Cannot show it here: network namespaces and the borrower's tunnel need root; run it as root"
  say "Network namespaces and the borrower's tunnel need root: going on with sudo"
  exec sudo "$ROOT/scripts/demo.sh"
fi

lender_address=192.168.1.100
borrower_address=192.168.1.101
# The guest image is built once and kept here; the tests use it too.
image_home=$ROOT/tests/tmp/home

prefix=omdemo-$$
folder=
lender_pid=

# remove_namespace NAME: ends whatever runs in it, then takes it away.
remove_namespace() {
  local pids
  pids=$(ip netns pids "$1" 2>/dev/null) || return 0
  # shellcheck disable=SC2086 # a list of numbers
  [ -z "$pids" ] || kill -KILL $pids 2>/dev/null || true
  ip netns delete "$1" 2>/dev/null || true
}

clean_up() {
  trap '' INT TERM HUP
  if [ -n "$folder" ]; then
    for who in borrower lender; do
      [ ! -e "$folder/$who/daemon.json" ] ||
        OMERTA_HOME=$folder/$who timeout 60 "$ROOT/scripts/omerta" daemon stop >/dev/null 2>&1 || true
    done
  fi
  [ -z "$lender_pid" ] || kill "$lender_pid" 2>/dev/null || true
  remove_namespace "$prefix-lender"
  remove_namespace "$prefix-borrower"
  [ -z "$folder" ] || rm -rf "$folder"
}
trap clean_up EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP

# What a demo that was killed outright left behind.
while read -r name _; do
  case $name in
    omdemo-*)
      owner=${name#omdemo-}
      kill -0 "${owner%%-*}" 2>/dev/null || remove_namespace "$name" ;;
  esac
done < <(ip netns list)

title() {
  printf '\n== %s\n' "$*"
}

# omerta_of WHO ARGUMENTS: runs omerta on that machine.
omerta_of() {
  local who=$1
  shift
  OMERTA_HOME=$folder/$who ip netns exec "$prefix-$who" "$ROOT/scripts/omerta" "$@" </dev/null
}

# typed WHO ARGUMENTS: shows the command, then runs it.
typed() {
  local who=$1 word line=
  shift
  for word in "$@"; do
    case $word in
      *[!A-Za-z0-9./_:=-]*) line+=" '$word'" ;;
      *) line+=" $word" ;;
    esac
  done
  printf '%s$ omerta%s\n' "$who" "$line"
  omerta_of "$who" "$@"
}

title "The guest image: built from Debian's packages once, then kept (about a minute)"
printf '$ omerta image build\n'
mkdir -p "$image_home"
OMERTA_HOME=$image_home "$ROOT/scripts/omerta" image build </dev/null

title "Two machines on one cable: lender $lender_address, borrower $borrower_address"
folder=$(mktemp -d "${TMPDIR:-/tmp}/omerta-demo.XXXXXX")
ip netns add "$prefix-lender"
ip netns add "$prefix-borrower"
ip link add name eth0 netns "$prefix-lender" type veth peer name eth0 netns "$prefix-borrower"
ip -n "$prefix-lender" address add $lender_address/24 dev eth0
ip -n "$prefix-borrower" address add $borrower_address/24 dev eth0
for who in lender borrower; do
  ip -n "$prefix-$who" link set lo up
  ip -n "$prefix-$who" link set eth0 up
done

title "Each makes its keys and settings"
typed lender init
typed borrower init
# The image is shared rather than built twice.
rm -rf "$folder/lender/images"
ln -s "$image_home/images" "$folder/lender/images"

title "The lender starts its daemon"
printf 'lender$ omerta daemon\n'
(
  export OMERTA_HOME=$folder/lender
  exec ip netns exec "$prefix-lender" "$ROOT/scripts/omerta" daemon </dev/null
) >"$folder/lender.log" 2>&1 &
lender_pid=$!
for ((tries = 0; ; tries++)); do
  ! grep -q '^Ctrl-C ends it' "$folder/lender.log" || break
  kill -0 $lender_pid 2>/dev/null || {
    cat "$folder/lender.log" >&2
    fail "Cannot go on: the lender's daemon has ended"
  }
  [ $tries -lt 300 ] || fail "Cannot go on: the lender's daemon was not ready after 30 s"
  sleep 0.1
done
cat "$folder/lender.log"

title "The lender hands out its link; the borrower takes it in"
printf 'lender$ omerta key share --host %s\n' $lender_address
link=$(omerta_of lender key share --host $lender_address)
say "$link"
typed borrower key import "$link"

title "The borrower asks for a VM"
typed borrower vm request --provider $lender_address --name demo

title "A command in the VM, over SSH, through the tunnel"
typed borrower ssh demo uname -a

title "What is borrowed, and giving it back"
typed borrower vm list
typed borrower vm release demo

title "Both daemons end; nothing is left"
typed borrower daemon stop
typed lender daemon stop
wait $lender_pid || true
lender_pid=
left=$(
  ip netns pids "$prefix-lender"
  ip netns pids "$prefix-borrower"
  find "$folder/lender/vms" -mindepth 1 2>/dev/null || true
  ip -n "$prefix-borrower" -o link show | grep -o 'omerta[0-9]*' || true
)
[ -z "$left" ] || {
  printf 'error: Something is left behind:\n%s\n' "$left" >&2
  exit 1
}
say "No process, no disk of a VM, no tunnel interface"
