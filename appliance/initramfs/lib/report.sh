# What it says, and how a boot that cannot go on ends.

# Runs a program of busybox: the initramfs has no links. This shell, which is busybox too, runs most of
# them in a copy of itself, and the others from /proc/self/exe. To execute /bin/busybox takes longer.
bb() { "$@"; }

# Prints a line on /dev/console, which is the last console= of the kernel's command line, and on a
# screen as well, unless the file says `console: false`.
say() {
	local consoles=''
	echo "piimage: $*" >"$CONSOLE"
	[ -e /sys/class/graphics/fb0 ] || return 0
	read -r consoles 2>/dev/null </sys/class/tty/console/active || :
	case $consoles in *tty0*) echo "piimage: $*" >/dev/tty0 ;; esac
}

phase() { say "phase $1"; }

# Leaves under /data why a try ends, for the version before, if /data can be mounted.
leave_cause() {
	if [ ! -d "$ROOT/data/piimage" ]; then
		[ -n "$SLOT_DISK" ] || return 0
		[ -d "$ROOT/data" ] || bb mkdir -p "$ROOT/data"
		partition_of "$SLOT_DISK" "$DATA"
		try_data "$REPLY" || return 0
	fi
	note_phase "failed: $1"
}

# Ends a boot that cannot go on: prints why, then restarts or halts, as the board's settings say. A try
# always restarts: the other slot boots then.
fail() {
	say "BOOT FAILED: $*"
	[ "$TRYBOOT" = 0 ] || leave_cause "$*"
	bb sync
	case $TRYBOOT$ON_FAILURE in
	0halt)
		say "halted; power cycle to try again"
		bb poweroff -f
		;;
	*)
		leave_slot
		say "restarting in $FAILURE_DELAY s"
		bb sleep "$FAILURE_DELAY"
		bb reboot -f
		;;
	esac
	while :; do bb sleep 3600; done
}

# With `verify: boot`, has the boot loader take the other slot once, if that has a file system and the
# firmware takes the flag. A failed try leads to the other slot anyway.
leave_slot() {
	local other
	[ "$VERIFY" = 1 ] && [ "$TRYBOOT" = 0 ] && [ -n "$SLOT_DISK" ] || return 0
	has_other_slot || REPLY=
	other=$REPLY
	if [ -n "$other" ] && set_try_flag; then
		say "the other slot, $other, is next"
	else
		say "there is no other slot to go to"
	fi
}

# Is there a version in the other slot? Its partition or folder in REPLY.
has_other_slot() {
	case ${SLOT_PREFIX:-$SLOT_PARTITION} in
	2) partition_of "$SLOT_DISK" 3 ;;
	3) partition_of "$SLOT_DISK" 2 ;;
	a/) REPLY=b/ ;;
	b/) REPLY=a/ ;;
	*) return 1 ;;
	esac
	case $REPLY in
	*/) [ -d "$STATE/slot/${REPLY}layers" ] ;;
	*) [ -b "$REPLY" ] && [ "$(bb hexdump -v -s 510 -n 2 -e '1/2 "%04x"' "$REPLY")" = aa55 ] ;;
	esac
}
