#!/usr/bin/env bash
# Sets everything up, then lends and borrows one VM on this machine: two network namespaces joined by
# a cable, so that lender and borrower meet as two machines would. Neither has any right beyond that
# of its user, root or not. Shows each command as a user would type it.
#
# Everything runs in namespaces of its own: processes, network, and a file system in memory for the
# two homes. The kernel takes all of it away when this script ends, however it ends.
set -euo pipefail
here=$(dirname "${BASH_SOURCE[0]}")
. "$here/lib.sh"

lender_address=192.168.1.100
borrower_address=192.168.1.101
# The guest image is built once and kept here; the tests use it too.
image_home=${OMERTA_TEST_HOME:-$ROOT/tests/tmp/home}

title() {
  printf '\n== %s\n' "$*"
}

# What runs a command as the first process of namespaces, where it is root and nothing outlives it.
# Root needs no namespace of users for that.
namespaces=(unshare --mount --net --pid --fork --kill-child --mount-proc)
[ "$(id -u)" = 0 ] || namespaces+=(--user --map-root-user)

prepare() {
  local refused
  "$here/bootstrap.sh"
  [ "$(uname -s)" = Linux ] ||
    fail "Cannot show it here: two machines in one need Linux's network namespaces; see README.md for two real ones"
  # Not after the image has been built.
  refused=$("${namespaces[@]}" true 2>&1) ||
    fail "Cannot show it here: namespaces cannot be made (${refused##*$'\n'}); as root, allow them with
  sysctl -w kernel.unprivileged_userns_clone=1 kernel.apparmor_restrict_unprivileged_userns=0 user.max_user_namespaces=10000
(of these, the settings that this kernel has), or run the demo as root"

  title "The guest image: built from Debian's packages once, then kept (about a minute)"
  printf '$ omerta image build\n'
  mkdir -p "$image_home" 2>/dev/null && [ -w "$image_home" ] ||
    fail "Cannot keep the image in $image_home: this user may not write there; name another folder in OMERTA_TEST_HOME"
  OMERTA_HOME=$image_home "$ROOT/scripts/omerta" image build </dev/null
}

# omerta_of WHO ARGUMENTS: runs omerta on that machine, with the capabilities that are left to it.
omerta_of() {
  local who=$1
  shift
  OMERTA_HOME=/run/$who nsenter --net=/run/netns/$who \
    setpriv --bounding-set=$CAPABILITIES --inh-caps=-all --no-new-privs \
    "$ROOT/scripts/omerta" "$@" </dev/null
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

# The whole demo; root in its namespaces.
show() {
  local who link left tries lender_pid
  # A size is a limit, not memory: what a VM may write is checked against it before it is lent.
  mount -t tmpfs -o mode=700,size=16g tmpfs /run

  title "Two machines on one cable: lender $lender_address, borrower $borrower_address"
  ip netns add lender
  ip netns add borrower
  ip link add name eth0 netns lender type veth peer name eth0 netns borrower
  ip -n lender address add $lender_address/24 dev eth0
  ip -n borrower address add $borrower_address/24 dev eth0
  for who in lender borrower; do
    ip -n $who link set lo up
    ip -n $who link set eth0 up
  done

  title "Each makes its keys and settings"
  typed lender init
  typed borrower init
  # The image is shared rather than built twice.
  rm -rf /run/lender/images
  ln -s "$image_home/images" /run/lender/images

  title "The lender starts its daemon"
  printf 'lender$ omerta daemon\n'
  omerta_of lender daemon >/run/lender.log 2>&1 &
  lender_pid=$!
  for ((tries = 0; ; tries++)); do
    ! grep -q '^Ctrl-C ends it' /run/lender.log || break
    kill -0 $lender_pid 2>/dev/null || {
      cat /run/lender.log >&2
      fail "Cannot go on: the lender's daemon has ended"
    }
    [ $tries -lt 300 ] || fail "Cannot go on: the lender's daemon was not ready after 30 s"
    sleep 0.1
  done
  cat /run/lender.log

  title "The lender hands out its link; the borrower takes it in"
  printf 'lender$ omerta key share --host %s\n' $lender_address
  link=$(omerta_of lender key share --host $lender_address)
  say "$link"
  typed borrower key import "$link"

  title "The borrower asks for a VM"
  typed borrower vm request --provider $lender_address --name demo

  title "A command in the VM, over SSH, through the tunnel"
  typed borrower ssh demo uname -a

  title "A file into the VM, and ping"
  typed borrower cp "$ROOT/LICENSE" demo:
  typed borrower ssh demo wc -l LICENSE
  typed borrower ping demo --count 2

  title "No interface was made for that: the daemon has a TCP/IP stack of its own"
  typed borrower status

  title "What is borrowed, and giving it back"
  typed borrower vm list
  typed borrower vm release demo

  title "Both daemons end; nothing is left"
  typed borrower daemon stop
  typed lender daemon stop
  wait $lender_pid || true
  left=$(
    ip netns pids lender
    ip netns pids borrower
    find /run/lender/vms -mindepth 1 2>/dev/null || true
    ip -n borrower -o link show | grep -o 'omerta[0-9]*' || true
  )
  [ -z "$left" ] || {
    printf 'error: Something is left behind:\n%s\n' "$left" >&2
    exit 1
  }
  say "No process, no disk of a VM, no tunnel interface"
}

if [ "${1-}" = --show ]; then
  show
else
  prepare
  # Not a single one; root keeps the one to read files, for a checkout that is somebody else's.
  export CAPABILITIES=-all
  [ "$(id -u)" != 0 ] || CAPABILITIES+=,+dac_override
  # In the background, so that a signal ends this script at once, and with it everything else.
  setpriv --pdeathsig KILL "${namespaces[@]}" "$ROOT/scripts/demo.sh" --show &
  wait $!
fi
