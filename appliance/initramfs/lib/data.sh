# The data partition.

try_data() {
	bb mount -t ext4 -o noatime,nosuid,nodev "$1" "$ROOT/data" 2>/dev/null
}

# Mounts /data, after a repair if it needs one. If that fails the boot goes on with a tmpfs.
mount_data() {
	DATA_DEVICE=
	: >"$STATE/data-is-temporary"
	if [ -n "$SLOT_DISK" ]; then
		partition_of "$SLOT_DISK" "$DATA"
		DATA_DEVICE=$REPLY
	fi
	if [ -z "$DATA_DEVICE" ]; then
		say "/data is temporary: this image has no disk"
	elif [ ! -b "$DATA_DEVICE" ]; then
		say "DATA LOST: $DATA_DEVICE does not exist; /data is temporary"
	elif try_data "$DATA_DEVICE" || { repair_data "$DATA_DEVICE" && try_data "$DATA_DEVICE"; }; then
		bb rm "$STATE/data-is-temporary"
		[ "$TRYBOOT" = 0 ] || note_phase data-mounted
		return 0
	else
		say "DATA LOST: cannot mount $DATA_DEVICE (ext4); /data is temporary"
	fi
	# Only /data knows of the trial, and says at the end whether it is kept.
	[ "$TRYBOOT" = 0 ] || fail "a version cannot be tried without /data"
	bb mount -t tmpfs -o mode=755,nosuid,nodev tmpfs "$ROOT/data"
	fill_data
}

# Puts into the temporary /data what a new data partition has, if the initramfs carries it.
fill_data() {
	[ ! -d "$SLOT/data" ] || bb mv "$SLOT/data/"* "$ROOT/data"
}

# Notes durably that the trial of this version has reached the phase $1.
note_phase() {
	[ -d "$ROOT/data/piimage/system" ] || return 0
	echo "$1" >>"$ROOT/data/piimage/system/trail"
	bb sync
}

repair_data() {
	local status
	say "/data ($1) does not mount; checking it"
	bb mount -o bind /dev "$ROOT/dev"
	bb chroot "$ROOT" /usr/sbin/e2fsck -y "$1" >"$CONSOLE" 2>&1
	status=$?
	bb umount "$ROOT/dev"
	# 0 clean, 1 repaired, 2 repaired and wants a restart (the file system is not mounted: no need).
	[ "$status" -le 2 ]
}
