# What the board, the command line and the boot loader say of this boot.

# The first line of the file $1 in REPLY; empty if the file does not exist.
first_line() {
	REPLY=
	[ ! -r "$1" ] || read -r REPLY <"$1" || :
}

load_settings() {
	DISK=
	DISK_ID=
	SELECTOR=1
	BOOT=2
	DATA=4
	GROW=1
	TABLE=mbr
	DISK_TIMEOUT=30
	WATCHDOG=watchdog0
	ON_FAILURE=reboot
	FAILURE_DELAY=10
	SLOT_PREFIX=
	SLOT_PARTITION=
	PARAMETERS=
	TRY_WORD=0
	OTHERS_LOADED=
	# shellcheck source=/dev/null
	[ ! -r "$CONF/board" ] || . "$CONF/board"
	# shellcheck source=gpt.sh
	[ "$TABLE" = mbr ] || . "$PARTS/gpt.sh"
}

# Reads what the emulator, the cmdline.txt of a slot's folder, or a person at the console set.
read_command_line() {
	local line='' word
	read -r line </proc/cmdline || :
	for word in $line; do
		case $word in
		piimage.partition=*) SLOT_PARTITION=${word#*=} ;;
		piimage.prefix=*) SLOT_PREFIX=${word#*=} ;;
		piimage.try=*) TRY_WORD=${word#*=} ;;
		piimage.disk=*) DISK=${word#*=} ;;
		piimage.disk-id=*) DISK_ID=${word#*=} ;;
		*.*=*) PARAMETERS="$PARAMETERS $word" ;;
		esac
	done
}

# The big-endian u32 in the file $1 of the device tree, in REPLY; empty if it does not exist.
device_tree_number() {
	REPLY=
	[ -r "$1" ] || return 0
	# shellcheck disable=SC2046 # four numbers, split on purpose
	set -- $(bb hexdump -v -n 4 -e '1/1 "%u "' "$1")
	[ $# -ne 4 ] || REPLY=$((($1 << 24) | ($2 << 16) | ($3 << 8) | $4))
}

choose_partition() {
	if [ "$SELECTOR" = 1 ]; then
		device_tree_number /proc/device-tree/chosen/bootloader/partition
		[ -z "$REPLY" ] || [ "$REPLY" = 0 ] || SLOT_PARTITION=$REPLY
	fi
	[ -n "$SLOT_PARTITION" ] || SLOT_PARTITION=$BOOT
}

# Sets TRYBOOT to 1 if the boot loader started this slot because of its one-time flag. One that chooses
# a folder does not say so: but only what it reads then (tryboot.txt, or the entry try.conf) leads to a
# command line with the word.
# Source: Raspberry Pi's documentation of /chosen/bootloader, tryboot.
notice_trial() {
	if [ "$SELECTOR" = 0 ]; then
		TRYBOOT=$TRY_WORD
		return 0
	fi
	device_tree_number /proc/device-tree/chosen/bootloader/tryboot
	case $REPLY in
	'' | 0) TRYBOOT=0 ;;
	*) TRYBOOT=1 ;;
	esac
}

# Sets KIND to the kind of disk that the boot loader read, if it says so.
# Source: Raspberry Pi's documentation of /chosen/bootloader, boot-mode.
choose_kind() {
	device_tree_number /proc/device-tree/chosen/bootloader/boot-mode
	case $REPLY in
	1) KIND=/mmc ;;
	4 | 5) KIND=/usb ;;
	6) KIND=/nvme ;;
	*) KIND= ;;
	esac
}
