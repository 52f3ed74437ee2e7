#!/bin/sh
# Runs getty on the console's device for one login; the service is restarted after it.
set -u
read -r CONSOLES </sys/class/tty/console/active
DEVICE=${GETTY_DEVICE:-${CONSOLES##* }}
if [ "${INSECURE:-}" = true ]; then
	exec getty -n -l /usr/bin/host-shell -L 115200 "$DEVICE" vt100
elif [ -r /etc/shadow ]; then
	exec getty -L 115200 "$DEVICE" vt100
fi
echo "getty: neither /etc/piimage/getty.shadow nor INSECURE=true: no login" >&2
exec sleep 2147483647
