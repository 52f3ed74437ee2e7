#!/bin/sh
# What udhcpc learned, put to use, of the wired network and of WiFi. /etc/resolv.conf is written in
# place: others have it bind-mounted.
# shellcheck disable=SC2154 # interface, ip, mask, router, dns, domain come from udhcpc
case $1 in
deconfig)
	ip link set "$interface" up
	;;
bound | renew)
	ip addr replace "$ip/$mask" dev "$interface" broadcast +
	metric=${DHCP_METRIC:-0}
	for gateway in ${router:-}; do
		ip route replace default via "$gateway" dev "$interface" metric "$metric"
		metric=$((metric + 1))
	done
	# Name servers that the file names stay.
	[ -e /run/piimage/network/dns ] || {
		[ -z "${domain:-}" ] || echo "search $domain"
		for server in ${dns:-}; do echo "nameserver $server"; done
	} >/etc/resolv.conf
	[ "$1" = renew ] || echo "dhcp: $interface has $ip/$mask, router ${router:-none}, dns ${dns:-none}"
	;;
leasefail) echo "dhcp: $interface got no lease" >&2 ;;
esac
