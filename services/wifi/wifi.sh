#!/bin/sh
# wpa_supplicant and udhcpc on the radio's interface. The key reaches neither log nor command line.
set -u
SYSTEM=/etc/piimage/wifi.conf
CARD=/provision/wifi.conf
CONFIGURATION=/tmp/wifi.conf

interface() {
	if [ -n "${WIFI_INTERFACE:-}" ]; then
		[ ! -e "/sys/class/net/$WIFI_INTERFACE" ] || echo "$WIFI_INTERFACE"
		return
	fi
	for path in /sys/class/net/*/phy80211; do
		[ -e "$path" ] || continue
		path=${path%/phy80211}
		echo "${path##*/}"
		return
	done
}

# A driver loads its firmware in its own time.
wait_for_interface() {
	waited=0
	until radio=$(interface) && [ -n "$radio" ]; do
		[ "$waited" -ne 20 ] || echo "wifi: no radio yet" >&2
		sleep 1
		waited=$((waited + 1))
	done
}

# The country is the file's; the network that the card was told goes before the file's.
write_configuration() {
	umask 077
	{
		grep '^country=' "$SYSTEM"
		if [ -s "$CARD" ]; then cat "$CARD"; else sed '/^country=/d' "$SYSTEM"; fi
	} >"$CONFIGURATION"
	umask 022
}

has_carrier() {
	carrier=0
	read -r carrier 2>/dev/null <"/sys/class/net/$radio/carrier"
	[ "$carrier" = 1 ]
}

# Back on the network, the lease is asked for at once: it may be another network.
watch() {
	joined=0
	while [ -d "/proc/$supplicant" ] && [ -d "/proc/$client" ]; do
		if has_carrier; then
			if [ "$joined" = 0 ]; then
				echo "wifi: $radio joined"
				kill -USR1 "$client"
			fi
			joined=1
		else
			[ "$joined" = 0 ] || echo "wifi: $radio lost the network"
			joined=0
		fi
		sleep 1
	done
}

write_configuration
if ! grep -q '^network=' "$CONFIGURATION"; then
	echo "wifi: nobody named a network: piimage provision --wifi does" >&2
	exec sleep 2147483647
fi
wait_for_interface
trap 'kill "$supplicant" "$client" 2>/dev/null; exit 0' TERM INT
supplicant=
client=
wpa_supplicant -i "$radio" -D nl80211 -c "$CONFIGURATION" &
supplicant=$!
udhcpc -f -i "$radio" -s /usr/bin/use-lease -t 5 -T 3 -A 10 &
client=$!
watch
echo "wifi: one of its programs ended" >&2
exit 1
