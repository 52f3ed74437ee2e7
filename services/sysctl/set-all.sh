#!/bin/sh
# Its own settings first: the image's file has the last word.
status=0
sysctl -q -p /etc/sysctl.conf || status=1
for file in /etc/sysctl.d/*.conf; do
	[ ! -r "$file" ] || sysctl -q -p "$file" || status=1
done
exit "$status"
