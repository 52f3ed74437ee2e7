#!/bin/sh
# Sets the settings of this container first, so that those of the image override them.
STATUS=0
sysctl -q -p /etc/sysctl.conf || STATUS=1
for FILE in /etc/sysctl.d/*.conf; do
	[ ! -r "$FILE" ] || sysctl -q -p "$FILE" || STATUS=1
done
exit "$STATUS"
