#!/bin/sh
# Runs in the finished tree "$1". Nothing of the machine that built it may stay inside: no keys, no
# machine id, no package mirror.
set -e
root=$1

rm -f "$root"/etc/ssh/ssh_host_* "$root/etc/apt/apt.conf.d/99mmdebstrap" \
	"$root/etc/hostname" "$root/etc/resolv.conf" "$root/etc/apt/sources.list"
# Empty, not absent: systemd then makes one on the first boot. A new file: the old one is read-only,
# which holds for who builds without being root.
rm -f "$root/etc/machine-id" "$root/var/lib/dbus/machine-id"
: >"$root/etc/machine-id"
printf '127.0.0.1\tlocalhost\n::1\tlocalhost\n' >"$root/etc/hosts"

cat >"$root/etc/apt/sources.list" <<END
deb https://deb.debian.org/debian @SUITE@ main
deb https://deb.debian.org/debian @SUITE@-updates main
deb https://deb.debian.org/debian-security @SUITE@-security main
END
printf 'LANG=C.UTF-8\n' >"$root/etc/default/locale"

# growfs: the disk of a VM is as large as was asked for, the file system in the image is not.
printf 'LABEL=@LABEL@ / ext4 defaults,x-systemd.growfs 0 1\n' >"$root/etc/fstab"

# Only what a seed from omerta needs. Every stage is another start of Python, which is what takes
# the time in a guest without hardware acceleration; so the "config" stage is left out.
cat >"$root/etc/cloud/cloud.cfg.d/90_omerta.cfg" <<END
datasource_list: [NoCloud]
datasource: {NoCloud: {fs_label: cidata}}
system_info: {network: {renderers: [networkd]}}
cloud_init_modules: [write-files, set_hostname, update_hostname, update_etc_hosts, users-groups, ssh, runcmd]
cloud_config_modules: []
cloud_final_modules: [scripts-user, final-message]
END
printf 'datasource: NoCloud\npolicy: enabled\n' >"$root/etc/cloud/ds-identify.cfg"

for unit in apt-daily.timer apt-daily-upgrade.timer dpkg-db-backup.timer fstrim.timer \
	e2scrub_all.timer e2scrub_reap.service systemd-pstore.service getty@tty1.service \
	systemd-networkd-wait-online.service cloud-config.service cloud-init-hotplugd.socket \
	systemd-binfmt.service proc-sys-fs-binfmt_misc.automount \
	dev-hugepages.mount sys-kernel-debug.mount sys-kernel-tracing.mount \
	sys-kernel-config.mount sys-fs-fuse-connections.mount modprobe@configfs.service \
	modprobe@drm.service modprobe@dm_mod.service modprobe@loop.service modprobe@fuse.service; do
	ln -sf /dev/null "$root/etc/systemd/system/$unit"
done
systemctl --root="$root" --quiet set-default multi-user.target
systemctl --root="$root" --quiet enable systemd-networkd.service nftables.service

# Ready to go, so that the first boot need not enable it; it waits until there is a wall.
mkdir -p "$root/etc/systemd/system/wg-quick@wg0.service.d"
printf '[Unit]\nConditionPathExists=/etc/omerta/ready\nConditionPathExists=/etc/wireguard/wg0.conf\n' \
	>"$root/etc/systemd/system/wg-quick@wg0.service.d/omerta.conf"
systemctl --root="$root" --quiet enable wg-quick@wg0.service
