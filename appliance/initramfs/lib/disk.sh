# The disk of this card, and the slot on it.

# The name of partition $2 of the disk $1, in REPLY.
partition_of() {
	case $1 in
	*[0-9]) REPLY=$1p$2 ;;
	*) REPLY=$1$2 ;;
	esac
}

# Is the disk $1 of the kind that the boot loader read? Two disks may hold the same card. After 10 s
# every kind will do.
is_expected() {
	[ -n "$KIND" ] && [ "$WAITED" -lt 100 ] || return 0
	case $(bb readlink "/sys/block/$1") in
	*"$KIND"*) return 0 ;;
	esac
	return 1
}

# The id in the partition table of the disk $1, a name without /dev/, on standard output: the disk id of
# an MBR, or the first part of the GUID of a GPT.
disk_id() {
	local at=440
	[ "$TABLE" = mbr ] || at=568
	bb hexdump -v -s "$at" -n 4 -e '1/4 "%08x"' "/dev/$1" 2>/dev/null
}

# Does the disk $1, a name without /dev/, hold this card? The id in its table tells; its name depends on
# which driver was first.
is_card() {
	partition_of "/dev/$1" "$SLOT_PARTITION"
	[ -b "$REPLY" ] || return 1
	[ -z "$DISK" ] || [ "$DISK" = "/dev/$1" ] || return 1
	is_expected "$1" || return 1
	[ -z "$DISK_ID" ] || [ -n "$DISK" ] || [ "$(disk_id "$1")" = "$DISK_ID" ]
}

# Waits for the disk of this card. If it is late, loads the modules that a card in its slot does not
# need.
find_disk() {
	local disk
	WAITED=0
	while :; do
		for disk in /sys/block/*; do
			disk=${disk##*/}
			is_card "$disk" || continue
			SLOT_DISK=/dev/$disk
			partition_of "$SLOT_DISK" "$SLOT_PARTITION"
			SLOT_DEVICE=$REPLY
			return 0
		done
		[ "$WAITED" -lt $((DISK_TIMEOUT * 10)) ] || return 1
		[ "$WAITED" -ne 20 ] || load_other_modules
		[ "$WAITED" -ne 50 ] || say "waiting for a disk with ${DISK:-id $DISK_ID}, partition $SLOT_PARTITION"
		bb usleep 100000
		WAITED=$((WAITED + 1))
	done
}

# Lists the disks that were found, to explain why none was taken.
list_disks() {
	local disk
	for disk in /sys/block/*; do
		disk=${disk##*/}
		case $disk in loop* | ram* | zram*) continue ;; esac
		say "disk $disk: id $(disk_id "$disk"), on $(bb readlink -f "/sys/block/$disk")"
	done
}

# Makes the data partition's entry in the table reach the end of the disk. The kernel knows whether that
# is needed, so that an ordinary boot reads nothing from the disk and starts no program for it.
grow_data_partition() {
	local disk_sectors start sectors room folder=/sys/class/block name="${SLOT_DISK#/dev/}"
	[ "$GROW" = 1 ] || return 0
	first_line "$folder/$name/size"
	disk_sectors=$REPLY
	partition_of "$name" "$DATA"
	name=$REPLY
	first_line "$folder/$name/start"
	start=$REPLY
	first_line "$folder/$name/size"
	sectors=$REPLY
	[ -n "$start" ] && [ -n "$sectors" ] || return 0
	# An MBR entry holds 2^32 - 1 sectors at most, and a GPT has a copy of 33 sectors at the end of the
	# disk; less than 1 MiB is not worth a write.
	room=$((disk_sectors - start))
	case $TABLE in
	gpt) room=$((room - 33)) ;;
	*) [ "$room" -le 4294967295 ] || room=4294967295 ;;
	esac
	[ $((room - sectors)) -ge 2048 ] || return 0
	case $TABLE in
	gpt) grow_gpt "$SLOT_DISK" "$DATA" "$disk_sectors" || return 0 ;;
	*) grow_mbr "$room" ;;
	esac
	bb sync
	if bb blockdev --rereadpt "$SLOT_DISK"; then
		say "data partition grown from $sectors to $room sectors"
	else
		say "data partition grown to $room sectors from the next boot on"
	fi
	find_disk || fail "partition $SLOT_PARTITION vanished from $SLOT_DISK"
}

# Gives the data partition $1 sectors in the MBR.
grow_mbr() {
	local bytes
	bytes=$(printf '\\x%02x\\x%02x\\x%02x\\x%02x' $(($1 & 255)) $(($1 >> 8 & 255)) \
		$(($1 >> 16 & 255)) $(($1 >> 24 & 255)))
	# shellcheck disable=SC2059 # the bytes are the format
	printf "$bytes" |
		bb dd of="$SLOT_DISK" bs=1 seek=$((446 + 16 * (DATA - 1) + 12)) conv=notrunc 2>/dev/null
}

mount_slot() {
	bb mkdir -p "$STATE/slot" "$STATE/layers" "$STATE/board"
	bb mount -t vfat -o ro,umask=022,iocharset=cp437 "$SLOT_DEVICE" "$STATE/slot" ||
		fail "cannot mount slot $SLOT_DEVICE (FAT)"
	SLOT=$STATE/slot/$SLOT_PREFIX
	SLOT=${SLOT%/}
	[ -d "$SLOT/layers" ] || fail "no layers/ in $SLOT_DEVICE, folder '/$SLOT_PREFIX'"
}

# Uses the slot that the initramfs carries (format kernel+initrd), if it does: no disk is needed, and
# /data is temporary. The slot moves to a tmpfs because switch_root removes the initramfs's own files.
use_carried_slot() {
	[ -d /slot/layers ] || return 1
	SLOT_DISK=
	SLOT_DEVICE=initramfs
	SLOT_PREFIX=
	SLOT=$STATE/slot
	bb mkdir -p "$SLOT" "$STATE/layers" "$STATE/board"
	bb mount -t tmpfs -o mode=755,nosuid,nodev tmpfs "$SLOT"
	bb mv /slot/* "$SLOT" || fail "no memory for the layers that the initramfs carries"
}

# Finds and mounts the slot.
use_slot() {
	use_carried_slot && return 0
	find_disk || {
		list_disks
		fail "no disk ${DISK:-with the id $DISK_ID} has a partition $SLOT_PARTITION; waited $DISK_TIMEOUT s"
	}
	grow_data_partition
	mount_slot
}
