#!/usr/bin/env bash
# Gets a fresh checkout ready: Deno, what it imports, and the host's packages. Only what is missing is
# fetched, and it is said before it is done. Prints nothing when everything is there.
#
#   scripts/bootstrap.sh            what Omerta needs to lend and borrow
#   scripts/bootstrap.sh --tests    and what the tests need besides
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

usage="usage: scripts/bootstrap.sh [--tests]"
with_tests=no
for word in "$@"; do
  case $word in
    --tests) with_tests=yes ;;
    -h | --help) say "$usage"; exit 0 ;;
    *) printf '%s\n' "$usage" >&2; exit 2 ;;
  esac
done

# Lines of "program package": the package is wanted when the program is not there.
debian_packages() {
  case $(uname -m) in
    aarch64 | arm64) say qemu-system-aarch64 qemu-system-arm ;;
    *) say qemu-system-x86_64 qemu-system-x86 ;;
  esac
  cat <<'LIST'
qemu-img qemu-utils
mmdebstrap mmdebstrap
newuidmap uidmap
fakechroot fakechroot
fakeroot fakeroot
mke2fs e2fsprogs
ssh openssh-client
ip iproute2
nft nftables
wg wireguard-tools
LIST
  [ "$with_tests" = no ] || cat <<'LIST'
wireguard-go wireguard-go
genisoimage genisoimage
iperf3 iperf3
passt passt
slirp4netns slirp4netns
tcpdump tcpdump
syslinux syslinux
syslinux syslinux-common
mcopy mtools
sfdisk fdisk
busybox busybox-static
ping iputils-ping
nc netcat-openbsd
zstd zstd
curl curl
socksify dante-client
rsync rsync
git git
dropbear dropbear-bin
dropbear openssh-sftp-server
python3 python3
LIST
}

brew_packages() {
  cat <<'LIST'
qemu-img qemu
LIST
  [ "$with_tests" = no ] || cat <<'LIST'
wg wireguard-tools
wireguard-go wireguard-go
iperf3 iperf3
zstd zstd
LIST
}

# missing_of: reads "program package" lines, prints the packages whose program is not there.
missing_of() {
  local program package
  while read -r program package; do
    has "$program" || printf '%s ' "$package"
  done
}

# logged WORDS...: runs a command quietly; what it printed is shown when it fails.
logged() {
  local output
  output=$("$@" </dev/null 2>&1) || {
    printf '%s\n' "$output" | tail -n 20 >&2
    return 1
  }
}

install_packages() {
  local missing by_hand as_root=()
  if [ "$(uname -s)" = Darwin ]; then
    missing=$(brew_packages | missing_of)
    [ -n "$missing" ] || return 0
    by_hand="brew install ${missing% }"
    has brew || fail "Cannot install packages: Homebrew is not there; get it, then run: $by_hand"
    say "Installing with brew: $missing"
    # shellcheck disable=SC2086 # a list of words
    logged brew install $missing || fail "Cannot install packages; try yourself: $by_hand"
    return 0
  fi

  missing=$(debian_packages | missing_of)
  [ -n "$missing" ] || return 0
  by_hand="apt-get install --no-install-recommends ${missing% }"
  has apt-get ||
    fail "Cannot install packages: there is no apt-get here; install what these Debian packages hold: ${missing% }"
  if [ "$(id -u)" != 0 ]; then
    has sudo && { sudo -n true 2>/dev/null || [ -t 0 ]; } ||
      fail "Cannot install packages: that needs root; run as root: $by_hand"
    as_root=(sudo)
    say "Installing needs root: sudo may ask for your password"
    sudo -v || fail "Cannot install packages: sudo refused; run as root: $by_hand"
  fi
  as_root+=(env DEBIAN_FRONTEND=noninteractive)
  say "Installing with apt-get: $missing"
  logged "${as_root[@]}" apt-get -q -o DPkg::Lock::Timeout=300 update ||
    say "The package lists could not be refreshed; going on with the old ones"
  # shellcheck disable=SC2086 # a list of words
  logged "${as_root[@]}" apt-get -q -y -o DPkg::Lock::Timeout=300 \
    install --no-install-recommends $missing ||
    fail "Cannot install packages; try yourself: $by_hand"
}

# The npm package is a small script and, in a package of its own for each platform, the program. The
# script that would join the two may be forbidden to run, so the program is looked up and used as is.
deno_from_npm() {
  local program
  has npm || return 1
  say "Fetching Deno $DENO_VERSION from npm into .tools/"
  mkdir -p "$TOOLS/npm"
  logged npm install --prefix "$TOOLS/npm" --no-save --no-audit --no-fund --ignore-scripts \
    "deno@$DENO_VERSION" || return 1
  for program in "$TOOLS"/npm/node_modules/@deno/*/deno; do
    # More than one may be there (two C libraries); the one that runs is the one.
    chmod +x "$program" 2>/dev/null || true
    if is_right_deno "$program"; then
      mkdir -p "$TOOLS/bin"
      ln -sf "..${program#"$TOOLS"}" "$TOOLS/bin/deno"
      return 0
    fi
  done
  return 1
}

deno_from_installer() {
  has curl || return 1
  say "Fetching Deno $DENO_VERSION with its own installer into .tools/"
  mkdir -p "$TOOLS"
  curl -fsSL --max-time 60 -o "$TOOLS/install.sh" https://deno.land/install.sh || return 1
  logged env DENO_INSTALL="$TOOLS" sh "$TOOLS/install.sh" --yes --no-modify-path "v$DENO_VERSION" || return 1
}

install_deno() {
  ! find_deno || return 0
  deno_from_npm || deno_from_installer || true
  find_deno ||
    fail "Cannot get Deno $DENO_VERSION: neither npm nor its installer gave it; install it by hand (https://deno.com) and put it on PATH"
}

# Exactly what deno.lock names; nothing is fetched when the cache has it.
install_dependencies() {
  (cd "$ROOT" && logged "$DENO" ci) || fail "Cannot fetch what deno.lock names (see above)"
}

# Checks before each commit, unless this clone has hooks of its own.
install_hooks() {
  has git && [ -e "$ROOT/.git" ] || return 0
  git -C "$ROOT" config core.hooksPath >/dev/null 2>&1 ||
    git -C "$ROOT" config core.hooksPath scripts/hooks 2>/dev/null || true
}

install_packages
install_deno
install_dependencies
install_hooks
