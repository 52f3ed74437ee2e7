#!/bin/sh
# Uses what udhcpc got, for the wired network and for WiFi. Writes /etc/resolv.conf in place, because
# other containers have it bind-mounted.
# shellcheck disable=SC2154 # interface, ip, mask, router, dns, domain come from udhcpc

set_address() {
	local gateway metric="${DHCP_METRIC:-0}"
	ip addr replace "$ip/$mask" dev "$interface" broadcast +
	for gateway in ${router:-}; do
		ip route replace default via "$gateway" dev "$interface" metric "$metric"
		metric=$((metric + 1))
	done
}

# Name servers of the file's are kept.
write_name_servers() {
	local server
	[ ! -e /run/piimage/network/dns ] || return 0
	{
		[ -z "${domain:-}" ] || echo "search $domain"
		for server in ${dns:-}; do echo "nameserver $server"; done
	} >/etc/resolv.conf
}

case $1 in
deconfig)
	ip link set "$interface" up
	;;
bound | renew)
	set_address
	write_name_servers
	[ "$1" = renew ] || echo "dhcp: $interface has $ip/$mask, router ${router:-none}, dns ${dns:-none}"
	;;
leasefail) echo "dhcp: $interface got no lease" >&2 ;;
esac
