#!/bin/sh
# dhcp once|renew. DHCP_INTERFACES names the interfaces; without it, all that are hardware, wired, and
# have no fixed address of the file's, or the one that the file names without an address.
# once: DHCP_TIMEOUT (20) seconds at most; fails if no interface got a lease.
set -u

interfaces() {
	if [ -n "${DHCP_INTERFACES:-}" ]; then
		echo "$DHCP_INTERFACES"
		return
	fi
	if [ -n "$asks" ]; then
		[ ! -e "/sys/class/net/$asks" ] || echo "$asks"
		return
	fi
	for path in /sys/class/net/*; do
		if [ ! -e "$path/device" ] || [ -e "$path/phy80211" ]; then continue; fi
		[ "${path##*/}" = "$fixed" ] || echo "${path##*/}"
	done
}

fixed=
[ ! -r /run/piimage/network/fixed ] || read -r fixed </run/piimage/network/fixed
asks=
[ ! -r /run/piimage/network/asks ] || read -r asks </run/piimage/network/asks

# A driver or a USB adapter may be late.
wait_for_interfaces() {
	waited=0
	until list=$(interfaces) && [ -n "$list$fixed" ] || [ "$waited" -ge "${DHCP_TIMEOUT:-20}" ]; do
		sleep 1
		waited=$((waited + 1))
	done
}

client() {
	name=$1
	shift
	ip link set "$name" up || return 1
	udhcpc -i "$name" -s /usr/bin/use-lease "$@"
}

wait_for_interfaces
if [ -z "$list" ] && [ -n "$fixed" ]; then
	echo "dhcp: nothing to do: $fixed has a fixed address"
	[ "$1" = once ] || exec sleep 2147483647
	exit 0
elif [ -z "$list" ]; then
	echo "dhcp: no network interface" >&2
	exit 1
fi
clients=
for interface in $list; do
	case $1 in
	once) client "$interface" -n -q -f -t $((${DHCP_TIMEOUT:-20} / 2)) -T 2 & ;;
	renew) client "$interface" -f & ;;
	esac
	clients="$clients $!"
done
status=1
for client in $clients; do
	if wait "$client"; then status=0; fi
done
exit "$status"
