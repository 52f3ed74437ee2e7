#!/bin/sh
# Prints a line that shows that the whole chain works, each hour.
read -r NAME </proc/sys/kernel/hostname
read -r RELEASE </proc/sys/kernel/osrelease
read -r ARCH </proc/sys/kernel/arch
trap 'exit 0' TERM
while :; do
	echo "HELLO from $NAME: Linux $RELEASE on $ARCH"
	sleep 3600 &
	wait $!
done
