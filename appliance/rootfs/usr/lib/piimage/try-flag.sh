# How the boot loader is told to try the other slot at the next start, and only then. Sourced by the
# programs of this folder and by the initramfs. The board's TRY says which boot loader it is:
#
#   tryboot  the firmware of a Raspberry Pi: the module of that name sets its flag.
#   efi      systemd-boot: a variable of the firmware names the entry. It removes the variable before
#            it starts anything, so that every later start is an ordinary one.
#   sector   U-Boot: a mark in a sector of the first partition that no file system uses. The script
#            boot.scr removes it before it starts anything.
#
# A function that fails leaves the reason in REPLY.
# shellcheck shell=dash
TRY_FLAG=/sys/module/tryboot/parameters/next # 1: the next start is a try of the other slot
VARIABLES=/run/piimage/variables             # of UEFI; mounted only while they are used
# systemd, "The Boot Loader Interface": whose variables these are, LoaderEntryOneShot, and its bit in
# LoaderFeatures. What efivarfs reads and writes begins with the attributes of a variable, here: it is
# kept, and the kernel may change it (Linux: Documentation/filesystems/efivarfs.rst).
LOADER=4a67b082-0a4c-41cf-b6c7-440b29bb8c4f
ONE_SHOT_BIT=8
ATTRIBUTES='\007\000\000\000'
TRY_ENTRY='\164\000\162\000\171\000\056\000\143\000\157\000\156\000\146\000\000\000' # try.conf
TRY_ENTRY_READ='07 00 00 00 74 00 72 00 79 00 2e 00 63 00 6f 00 6e 00 66 00 00 00 '
# Of what only piimage writes, to know whether the firmware keeps what it is given.
OWN=b1f1a8c2-6d0e-4e0b-9d35-70c6a1e5f7d4

# piimage/firmware/uboot_script.py has the script that reads the mark.
MARK='piimage: try once'
MARK_SECTOR=16
FIRST_PARTITION=/run/piimage/slot # where it is mounted

# Can the boot loader be told, as far as can be seen without writing anything?
can_try() {
	case $TRY in
	tryboot)
		REPLY="this system has no module tryboot: its file needs slots: { updates: true }"
		[ -e "$TRY_FLAG" ]
		;;
	efi) with_variables knows_one_shot ;;
	sector)
		REPLY="this card has no boot.scr: it was written without slots: { updates: true }"
		[ -f "$FIRST_PARTITION/boot.scr" ]
		;;
	*)
		REPLY="this board's boot loader knows no tries"
		return 1
		;;
	esac
}

# Does it keep what it is told? What is written is removed again.
takes_flag() {
	can_try || return 1
	case $TRY in
	efi) with_variables keeps_variables ;;
	sector) : ;;
	*) module_takes_flag ;;
	esac
}

# The next start is a try.
set_try_flag() {
	case $TRY in
	efi) with_variables set_one_shot ;;
	sector) mark_sector "${PIIMAGE_DISK:-${SLOT_DISK:-}}" ;;
	*) echo 1 2>/dev/null >"$TRY_FLAG" ;;
	esac
}

# Marks the sector of the disk $1.
mark_sector() {
	local partition
	case $1 in
	*[0-9]) partition=${1}p1 ;;
	*) partition=${1}1 ;;
	esac
	echo "$MARK" | /bin/busybox dd of="$partition" bs=512 seek="$MARK_SECTOR" conv=notrunc,sync,fsync 2>/dev/null
	REPLY="the sector of the mark cannot be written"
	[ "$(/bin/busybox dd if="$partition" bs=1 skip=$((MARK_SECTOR * 512)) count=${#MARK} 2>/dev/null)" = "$MARK" ]
}

module_takes_flag() {
	local value=''
	REPLY="the firmware does not take the flag of a try: update the boot loader (EEPROM)"
	echo 1 2>/dev/null >"$TRY_FLAG" || return 1
	read -r value <"$TRY_FLAG" || :
	[ "$value" = 1 ] && echo 0 2>/dev/null >"$TRY_FLAG"
}

# Runs the function $1 while the variables of UEFI are mounted.
with_variables() {
	local status=0
	REPLY="this system has no module efivarfs: its file needs slots: { updates: true }"
	/bin/busybox grep -qw efivarfs /proc/filesystems || return 1
	REPLY="this machine's firmware has no variables that a system can use"
	[ -d "$VARIABLES" ] || /bin/busybox mkdir "$VARIABLES" || return 1
	/bin/busybox mount -t efivarfs -o nosuid,nodev,noexec efivarfs "$VARIABLES" 2>/dev/null || return 1
	"$1" || status=1
	/bin/busybox umount "$VARIABLES"
	return $status
}

knows_one_shot() {
	local bits
	REPLY="the variables of this machine's firmware cannot be changed"
	/bin/busybox grep -q " $VARIABLES efivarfs rw" /proc/mounts || return 1
	REPLY="it was not started by systemd-boot, or by one that does not know LoaderEntryOneShot"
	# A variable is read from its beginning: the kernel lets nobody seek in one.
	bits=$(/bin/busybox hexdump -v -n 5 -e '1/1 "%u "' "$VARIABLES/LoaderFeatures-$LOADER" 2>/dev/null)
	bits=${bits% }
	bits=${bits##* }
	[ $((${bits:-0} & ONE_SHOT_BIT)) -ne 0 ]
}

# A variable that was made cannot be opened once more for writing, but what is open can: attributes
# without a value remove it. If it is there already, the power went here before, and it was kept.
keeps_variables() {
	local probe="$VARIABLES/PiimageProbe-$OWN"
	REPLY="this machine's firmware does not keep a variable that is written"
	names_try "$probe" && return 0
	# shellcheck disable=SC2059,SC2094 # the bytes are the format; a variable is no ordinary file
	{
		printf "$ATTRIBUTES$TRY_ENTRY" >&3 && names_try "$probe" && printf "$ATTRIBUTES" >&3
	} 2>/dev/null 3>"$probe"
}

set_one_shot() {
	local variable="$VARIABLES/LoaderEntryOneShot-$LOADER"
	REPLY="the variable LoaderEntryOneShot cannot be written"
	names_try "$variable" && return 0
	# shellcheck disable=SC2059 # the bytes are the format
	printf "$ATTRIBUTES$TRY_ENTRY" 2>/dev/null >"$variable"
	names_try "$variable"
}

# Is $1 a variable that names the entry of a try?
names_try() {
	[ "$(/bin/busybox hexdump -v -e '1/1 "%02x "' "$1" 2>/dev/null)" = "$TRY_ENTRY_READ" ]
}
