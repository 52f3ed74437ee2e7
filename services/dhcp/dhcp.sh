#!/bin/sh
# dhcp once|renew: asks for addresses by DHCP. DHCP_INTERFACES names the interfaces. Without it they
# are the one that the file names without an address, or else all wired ones that are hardware, but
# for one with a fixed address of the file's.
# once: for DHCP_TIMEOUT (20) seconds at most; fails if no interface got a lease.
# renew: for ever; it also waits for the first interface, such as a USB adapter, for as long as it takes.
set -u

# Reads which interface has a fixed address of the file's, and which one it names without an address.
read_roles() {
	FIXED=
	[ ! -r /run/piimage/network/fixed ] || read -r FIXED </run/piimage/network/fixed
	ONLY=
	[ ! -r /run/piimage/network/asks ] || read -r ONLY </run/piimage/network/asks
}

# The interfaces in REPLY, separated by blanks.
list_interfaces() {
	local path names=''
	REPLY=${DHCP_INTERFACES:-}
	[ -z "$REPLY" ] || return 0
	if [ -n "$ONLY" ]; then
		[ ! -e "/sys/class/net/$ONLY" ] || REPLY=$ONLY
		return 0
	fi
	for path in /sys/class/net/*; do
		if [ ! -e "$path/device" ] || [ -e "$path/phy80211" ]; then continue; fi
		[ "${path##*/}" = "$FIXED" ] || names="$names ${path##*/}"
	done
	REPLY=${names# }
}

# Waits until there is an interface: a driver or a USB adapter may be late. REPLY is as above.
# $1: once or renew.
wait_for_interfaces() {
	local waited=0
	list_interfaces
	until [ -n "$REPLY$FIXED" ]; do
		if [ "$waited" = "${DHCP_TIMEOUT:-20}" ]; then
			echo "dhcp: no network interface" >&2
			[ "$1" = renew ] || return 1
		fi
		sleep 1
		waited=$((waited + 1))
		list_interfaces
	done
}

run_client() {
	local interface="$1"
	shift
	ip link set "$interface" up || return 1
	udhcpc -i "$interface" -s /usr/bin/use-lease "$@"
}

# Runs a client for each of the interfaces $2; succeeds if one of them does. $1: once or renew.
run_clients() {
	local interface client clients='' status=1
	for interface in $2; do
		case $1 in
		once) run_client "$interface" -n -q -f -t $((${DHCP_TIMEOUT:-20} / 2)) -T 2 & ;;
		renew) run_client "$interface" -f & ;;
		esac
		clients="$clients $!"
	done
	for client in $clients; do
		if wait "$client"; then status=0; fi
	done
	return "$status"
}

main() {
	read_roles
	wait_for_interfaces "$1" || return 1
	if [ -n "$REPLY" ]; then
		run_clients "$1" "$REPLY"
	else
		echo "dhcp: nothing to do: $FIXED has a fixed address"
		[ "$1" = once ] || exec sleep 2147483647
	fi
}

main "$@"
