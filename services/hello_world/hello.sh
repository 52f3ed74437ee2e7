#!/bin/sh
# The line that shows that the whole chain works, then a quiet life.
line="HELLO from $(hostname): Linux $(uname -r) on $(uname -m)"
while :; do
	echo "$line"
	sleep 3600
done
