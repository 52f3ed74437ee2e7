# The board's watchdog, until process 1 feeds it.

# On a try, starts the board's watchdog: it ends an initramfs or a process 1 that hangs. Busybox's program
# feeds it once, and is killed so that it does not stop it; from then on process 1 has to feed it.
arm_watchdog() {
	local waited=0 pid
	[ "$TRYBOOT" = 1 ] && [ -n "$WATCHDOG" ] && [ -c "/dev/$WATCHDOG" ] || return 0
	# Not by bb: that would be a shell's process id.
	/bin/busybox watchdog -F -T "$TRY_WATCHDOG" -t 3600 "/dev/$WATCHDOG" &
	pid=$!
	# Its descriptor 3 is the watchdog, whose time it sets next.
	until [ -e "/proc/$pid/fd/3" ] || [ "$waited" -ge 50 ]; do
		bb usleep 100000
		waited=$((waited + 1))
	done
	bb usleep 100000
	kill -KILL "$pid"
	wait "$pid" 2>/dev/null
}

# Leads /dev/watchdog, which process 1 keeps fed, to the board's own; removes it if there is none.
choose_watchdog() {
	bb rm -f /dev/watchdog
	[ -z "$WATCHDOG" ] || bb ln -s "$WATCHDOG" /dev/watchdog
}
