#!/bin/sh
# Runs wpa_supplicant and udhcpc on the radio's interface. The key reaches neither log nor command line.
set -u
SYSTEM=/etc/piimage/wifi.conf
CARD=/provision/wifi.conf
COUNTRY=/provision/country
CONFIGURATION=/tmp/wifi.conf

# The radio's interface in REPLY; empty if there is none.
find_radio() {
	local path
	REPLY=
	if [ -n "${WIFI_INTERFACE:-}" ]; then
		[ ! -e "/sys/class/net/$WIFI_INTERFACE" ] || REPLY=$WIFI_INTERFACE
		return 0
	fi
	for path in /sys/class/net/*/phy80211; do
		[ -e "$path" ] || continue
		path=${path%/phy80211}
		REPLY=${path##*/}
		return 0
	done
}

# Waits for the radio, whose driver has firmware to load. REPLY is as above.
wait_for_radio() {
	local waited=0
	find_radio
	until [ -n "$REPLY" ]; do
		[ "$waited" -ne 20 ] || echo "wifi: no radio yet" >&2
		sleep 1
		waited=$((waited + 1))
		find_radio
	done
}

# What the card's settings say of the country and the networks replaces what the file says.
write_configuration() {
	umask 077
	{
		if [ -s "$COUNTRY" ]; then echo "country=$(cat "$COUNTRY")"; else grep '^country=' "$SYSTEM"; fi
		if [ -s "$CARD" ]; then cat "$CARD"; else sed '/^country=/d' "$SYSTEM"; fi
	} >"$CONFIGURATION"
	umask 022
}

has_carrier() {
	local carrier=0
	read -r carrier 2>/dev/null <"/sys/class/net/$RADIO/carrier"
	[ "$carrier" = 1 ]
}

# Watches the connection until one of the programs ends. When the radio has joined a network, udhcpc
# asks for a lease at once: it may be another network.
watch() {
	local joined=0
	while [ -d "/proc/$SUPPLICANT" ] && [ -d "/proc/$CLIENT" ]; do
		if has_carrier; then
			if [ "$joined" = 0 ]; then
				echo "wifi: $RADIO joined"
				kill -USR1 "$CLIENT"
			fi
			joined=1
		else
			[ "$joined" = 0 ] || echo "wifi: $RADIO lost the network"
			joined=0
		fi
		sleep 1
	done
}

write_configuration
if ! grep -q '^network=' "$CONFIGURATION"; then
	echo "wifi: no network is configured: set one with piimage provision --wifi" >&2
	exec sleep 2147483647
fi
wait_for_radio
RADIO=$REPLY
trap 'kill "$SUPPLICANT" "$CLIENT" 2>/dev/null; exit 0' TERM INT
SUPPLICANT=
CLIENT=
wpa_supplicant -i "$RADIO" -D nl80211 -c "$CONFIGURATION" &
SUPPLICANT=$!
udhcpc -f -i "$RADIO" -s /usr/bin/use-lease -t 5 -T 3 -A 10 &
CLIENT=$!
watch
echo "wifi: one of its programs ended" >&2
exit 1
