#!/bin/sh
# Last step of cloud-init's work on the first boot: raises the firewall, then the tunnel, and has
# both come back by themselves after every reboot. The lender follows along on the console.
#
# A built image has nft and wg-quick. Debian's cloud image has neither wg-quick nor a way to get it,
# because a lent guest has no internet: there wg0.py takes its place, and iptables that of nft.

say() { printf '\n%s\n' "$*" >/dev/console; }
fault() { say "OMERTA-FAULT $*"; }
# Enabling costs seconds in a guest without hardware acceleration, so it is not done twice.
enable() { systemctl --quiet is-enabled "$1" 2>/dev/null || systemctl --quiet enable "$1"; }
begin() { enable "$1" && systemctl start "$1"; }

if [ -f /etc/omerta/firewall ]; then
	if command -v nft >/dev/null; then
		nft -f /etc/nftables.conf && enable nftables.service ||
			fault "firewall: nft refused /etc/nftables.conf"
	elif command -v iptables-restore >/dev/null; then
		begin omerta-firewall.service || fault "firewall: iptables refused its rules"
	else
		fault "firewall: neither nft nor iptables is in this image"
	fi
fi

# From here on the tunnel may be brought up at boot: the wall is there before it.
: >/etc/omerta/ready

if [ -f /etc/wireguard/wg0.conf ]; then
	chmod 700 /etc/wireguard
	if command -v wg-quick >/dev/null; then
		begin wg-quick@wg0.service || fault "wg0: wg-quick could not bring it up"
	else
		begin omerta-wg0.service || fault "wg0: the kernel's WireGuard could not be set up"
	fi
	ip link show wg0 up 2>/dev/null | grep -q wg0 || fault "wg0: it is not up"
fi

# Mode direct: the second card asks for its address by DHCP, and where nothing else does it, the
# name server that came with it is written down.
if [ -f /etc/omerta/direct ]; then
	tries=0
	until name_server=$(sed -n 's/^DNS=\([0-9.]*\).*/\1/p' /run/systemd/netif/state) &&
		[ -n "$name_server" ]; do
		tries=$((tries + 1))
		[ $tries -le 60 ] || break
		sleep 0.5
	done
	if [ -z "$name_server" ]; then
		fault "direct: the second network card got no address"
	elif [ ! -e /etc/resolv.conf ]; then
		printf 'nameserver %s\n' "$name_server" >/etc/resolv.conf
	fi
fi

if [ -f /etc/systemd/system/omerta-reverse.service ]; then
	systemctl start --no-block omerta-reverse.service
fi

say "OMERTA-STAGE cloud-init $(cut -d ' ' -f 1 /proc/uptime)"
