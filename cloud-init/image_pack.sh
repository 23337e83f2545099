#!/bin/sh
# Turns the tree in the tar file on standard input into a qcow2 disk on standard output: an ext4
# file system without a partition table, labelled "$1", of size "$2". Nothing is mounted.
set -e
folder=$(mktemp -d "${TMPDIR:-/var/tmp}/omerta-image.XXXXXX")
trap 'rm -rf "$folder"' EXIT
trap 'exit 1' INT TERM HUP
mkdir "$folder/root"
# No device nodes: an ordinary user's namespace may not make them, and the kernel does at every boot.
unpack() {
	tar --numeric-owner --exclude='./dev/*' -C "$folder/root" "$@"
}
if [ -z "${FAKEROOTKEY:-}" ]; then
	unpack --xattrs --xattrs-include='*' -xf -
else
	# To fakeroot, a file that tar gives capabilities while it makes it has no type any more; one that
	# is there already keeps it.
	unpack -xf -
	unpack --xattrs --xattrs-include='*' --overwrite -xf /dev/stdin
fi
mke2fs -q -F -t ext4 -m 1 -L "$1" -d "$folder/root" "$folder/disk.raw" "$2" >&2
qemu-img convert -O qcow2 "$folder/disk.raw" "$folder/disk.qcow2" >&2
cat "$folder/disk.qcow2"
