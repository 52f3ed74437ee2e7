#!/bin/sh
# getty on the console's own device, once for each login (the service is restarted after it).
set -u
read -r consoles </sys/class/tty/console/active
device=${GETTY_DEVICE:-${consoles##* }}
if [ "${INSECURE:-}" = true ]; then
	exec getty -n -l /usr/bin/host-shell -L 115200 "$device" vt100
elif [ -r /etc/shadow ]; then
	exec getty -L 115200 "$device" vt100
fi
echo "getty: neither /etc/piimage/getty.shadow nor INSECURE=true: no login" >&2
exec sleep 2147483647
