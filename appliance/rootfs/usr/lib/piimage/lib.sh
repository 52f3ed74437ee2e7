# Shared by the programs in this folder; sourced, starts no process of its own.
# shellcheck shell=dash
RUN=/run/piimage
CONSOLE=/dev/console
NAMESPACE=services.linuxkit
export PATH=/usr/sbin:/usr/bin

# The last console= is where /dev/console leads; a screen is told as well, unless the file says
# `console: false`. On a card for a test every line begins with its seal: services print on the
# console too, and know no seal.
say() {
	seal=
	[ ! -r "$RUN/console-seal" ] || read -r seal <"$RUN/console-seal"
	echo "${seal:+[$seal] }piimage: $*" >"$CONSOLE"
	[ -e /sys/class/graphics/fb0 ] || return 0
	consoles=
	read -r consoles 2>/dev/null </sys/class/tty/console/active || :
	case $consoles in *tty0*) echo "piimage: $*" >/dev/tty0 ;; esac
}

# For benchmarks: how far the boot has come.
phase() { say "phase $1"; }

# Seconds since boot, in REPLY.
now() {
	read -r REPLY _ </proc/uptime
	REPLY=${REPLY%.*}
}

# What the initramfs found out, and the board's settings.
load_boot_facts() {
	CONSOLE_LOGS=0
	DATA_MOUNT=
	# shellcheck source=/dev/null
	[ ! -r /etc/piimage/settings ] || . /etc/piimage/settings
	# shellcheck source=/dev/null
	. "$RUN/boot"
}

# Mounts a layer unless it is. Only boot, onboot and switch call it, never two at a time.
mount_layer() {
	[ ! -d "$RUN/layers/$1" ] || return 0
	for place in /data/piimage/layers "$PIIMAGE_SLOT/layers"; do
		[ -f "$place/$1.squashfs" ] || continue
		mkdir "$RUN/layers/$1"
		mount -t squashfs -o ro,nodev,loop "$place/$1.squashfs" "$RUN/layers/$1" && return 0
		rmdir "$RUN/layers/$1"
	done
	say "layer $1 is missing or broken"
	return 1
}

# Mounts the layers that the container folders below a containers layer name.
mount_layers_of() {
	failed=0
	for list in "$1"/*/*/layers; do
		[ -f "$list" ] || continue
		while read -r digest; do
			mount_layer "$digest" || failed=1
		done <"$list"
	done
	return "$failed"
}

# What containers share (`volumes:` with an image), once: its folder is named by its content.
mount_volumes() {
	for volume in "$1"/volumes/*/; do
		place=volumes/${volume#"$1/volumes/"}
		place=${place%/}
		if [ ! -d "$volume" ] || grep -q " $RUN/rootfs/$place " /proc/mounts; then continue; fi
		(load_container "$volume" && mount_rootfs "$volume" "$place") || return 1
	done
}

load_container() {
	READONLY=1
	POINTS=
	MKDIR=
	REQUIRED=0
	TIMEOUT=0
	RESTART=always
	BACKOFF_MIN=1
	BACKOFF_MAX=60
	STOP_TIMEOUT=10
	AFTER=
	HEALTH_KIND=
	HEALTH_TARGET=
	HEALTH_EVERY=30
	HEALTH_TIMEOUT=5
	HEALTH_RETRIES=3
	HEALTH_START=0
	HEALTH_NETNS=0
	LOG_SIZE=262144
	LOG_COUNT=4
	UPPER_OWNER=
	SETTINGS=
	# shellcheck source=/dev/null
	[ ! -f "$1/container.env" ] || . "$1/container.env"
}

# The container's root file system at $RUN/rootfs/KIND/NAME, as config.json's root.path says. No node in
# it opens a device, whoever made it: devices are in its /dev, which is mounted over it.
# $1: the container's folder, $2: KIND/NAME.
mount_rootfs() {
	rootfs=$RUN/rootfs/$2
	upper=$RUN/upper/$2
	mkdir -p "$rootfs"
	lower=
	several=
	while read -r digest; do
		[ -d "$RUN/layers/$digest" ] || return 1
		several=${lower:+1}
		lower=$RUN/layers/$digest${lower:+:$lower}
	done <"$1/layers"
	if [ -n "$POINTS" ]; then
		make_points "$RUN/points/$2"
		lower=$lower:$RUN/points/$2
		several=1
	fi
	if [ "$READONLY" != 1 ]; then
		mkdir -p "$upper/upper" "$upper/work"
		[ -z "$UPPER_OWNER" ] || chown "$UPPER_OWNER" "$upper/upper"
		mount -t overlay \
			-o "nodev,lowerdir=$lower,upperdir=$upper/upper,workdir=$upper/work" \
			overlay "$rootfs"
	elif [ -n "$several" ]; then
		mount -t overlay -o "ro,nodev,lowerdir=$lower" overlay "$rootfs"
	else
		mount -o bind,ro,nodev "$lower" "$rootfs"
	fi
}

# Places that config.json mounts on and that no layer has: a folder ends in /, the rest are files.
make_points() {
	for point in $POINTS; do
		case $point in
		*/) mkdir -p "$1/$point" ;;
		*)
			mkdir -p "$1/${point%/*}"
			: >"$1/$point"
			;;
		esac
	done
}

unmount_rootfs() {
	umount "$RUN/rootfs/$1" 2>/dev/null
	rm -rf "$RUN/upper/$1" "$RUN/points/$1"
}

# Asks a container once how it is, as its HEALTH_ keys say. $1: its id, $2: its first process, $3: the
# folder of runc's state. A command runs in it as its own processes do; runc alone is half as dear as
# going through containerd.
check_health() {
	case $HEALTH_KIND in
	http) in_its_network "$2" wget -q -O /dev/null "$HEALTH_TARGET" ;;
	tcp) in_its_network "$2" nc "${HEALTH_TARGET%:*}" "${HEALTH_TARGET##*:}" -e true ;;
	command)
		(
			set -- timeout -k 2 "$HEALTH_TIMEOUT" runc --root "$3" exec "$1"
			eval "\"\$@\" $HEALTH_TARGET" # a quoted argument list
		)
		;;
	esac </dev/null >/dev/null 2>&1
}

in_its_network() {
	first=$1
	shift
	[ "$HEALTH_NETNS" != 1 ] || set -- nsenter -t "$first" -n "$@"
	timeout -k 2 "$HEALTH_TIMEOUT" "$@"
}

# Host folders, then what LinuxKit's `runtime` section asks for before the start, and the devices.
# $1: the container's folder, $2: KIND/NAME.
prepare_host() {
	rm -f "$RUN/devices/$2"
	for folder in $MKDIR; do mkdir -p "$folder" || return 1; done
	# A shell of its own: who asks whether this failed would switch its `set -e` off.
	[ ! -f "$1/prestart" ] || sh -ec '. /usr/lib/piimage/lib.sh; . "$1"' prestart "$1/prestart"
}

# Gives a container a device of the Pi: a node that its user owns, and a rule for this very device,
# whose numbers may be others after each boot. $1: KIND/NAME, $2: the device, $3: c or b, $4: the node's
# mode, $5: its owner, $6: the node. Used by prestart scripts.
grant_device() {
	if [ "$3" = b ]; then [ -b "$2" ]; else [ -c "$2" ]; fi || {
		say "${1##*/}: the device $2 is missing"
		return 1
	}
	major=$((0x$(stat -L -c %t "$2")))
	minor=$((0x$(stat -L -c %T "$2")))
	mkdir -p "${6%/*}" "$RUN/devices/${1%/*}"
	rm -f "$6"
	mknod -m "$4" "$6" "$3" $major $minor
	chown "$5" "$6"
	echo ",{\"access\":\"rw\",\"allow\":true,\"major\":$major,\"minor\":$minor,\"type\":\"$3\"}" \
		>>"$RUN/devices/$1"
}

# A pair of interfaces called $1 and $2. busybox knows no word for the other one's name: the kernel
# names it, and it is renamed.
add_veth() {
	ip link add name "$1" type veth
	[ -n "$2" ] || return 0
	read -r other <"/sys/class/net/$1/iflink"
	for link in /sys/class/net/*; do
		read -r index 2>/dev/null <"$link/ifindex" || continue
		[ "$index" != "$other" ] || ip link set dev "${link##*/}" name "$2"
	done
}

# The folder whose config.json is to be used, in REPLY: the container's own, or a copy that has in it
# the devices that were found on this Pi, and what this card was told (`piimage flash --set`).
# $1: the container's folder, $2: KIND/NAME.
configure() {
	REPLY=$1
	told=/data/piimage/provision/settings
	if [ -s "$RUN/devices/$2" ]; then change_config "$2" with_devices || return 1; fi
	if [ -n "$SETTINGS" ] && [ -r $told ]; then change_config "$2" with_settings || return 1; fi
}

# Replaces the config.json in REPLY by a copy for root's eyes only, which the command $2 makes of it.
change_config() {
	copy=$RUN/configured/$1
	(umask 077 && mkdir -p "$copy" && "$2" "$REPLY/config.json" "$1" >"$copy/config.json.new") ||
		return 1
	mv "$copy/config.json.new" "$copy/config.json"
	REPLY=$copy
}

with_devices() {
	rules=$(tr -d '\n' <"$RUN/devices/$2")
	/usr/lib/piimage/with-devices -v "rules=$rules" "$1"
}

# No other variable can be mistaken for one of the settings.
with_settings() {
	# shellcheck disable=SC2016 # for the shell without an environment
	env -i /bin/sh -c 'set -a; . "$3"; exec /usr/lib/piimage/with-settings -v "names=$1" "$2"' \
		sh "$SETTINGS" "$1" $told
}
