#!/bin/sh
# access-point SSID PASSPHRASE
set -eu
until [ -e /sys/class/net/wlan1/phy80211 ]; do sleep 1; done
radio=$(basename "$(readlink -f /sys/class/net/wlan1/phy80211)")
cat >/tmp/hostapd.conf <<-END
	interface=wlan1
	ssid=$1
	hw_mode=g
	channel=1
	country_code=JP
	wpa=2
	wpa_key_mgmt=WPA-PSK
	rsn_pairwise=CCMP
	wpa_passphrase=$2
END
# shellcheck disable=SC2016 # for the shell on the other side
unshare -n sh -euc '
	until ip link show wlan1 >/dev/null 2>&1; do sleep 1; done
	ip link set lo up
	ip addr add 10.77.0.1/24 dev wlan1
	ip link set wlan1 up
	: >/tmp/leases
	udhcpd -f /etc/udhcpd.conf &
	httpd -h /srv -p 10.77.0.1:80
	exec hostapd /tmp/hostapd.conf
' &
sleep 1
iw phy "$radio" set netns "$!"
wait $!
