# What the programs in this folder do with a container: its layers, root file system, devices,
# configuration and health. Sourced after lib.sh.
# $1 of most functions is the container's folder, which holds config.json, layers and container.env
# (appliance/README.md); $2 is KIND/NAME, which names what belongs to it below /run/piimage.
# shellcheck shell=dash

# --- layers

# Mounts the layer with the digest $1 unless it is mounted. Only boot, onboot and switch call this,
# never two at a time.
mount_layer() {
	local folder
	[ ! -d "$RUN/layers/$1" ] || return 0
	for folder in /data/piimage/layers "$PIIMAGE_SLOT/layers"; do
		[ -f "$folder/$1.squashfs" ] || continue
		mkdir "$RUN/layers/$1"
		mount -t squashfs -o ro,nodev,loop "$folder/$1.squashfs" "$RUN/layers/$1" && return 0
		rmdir "$RUN/layers/$1"
	done
	say "layer $1 is missing or broken"
	return 1
}

# Mounts the layers that the containers of the containers layer $1 consist of.
mount_layers_of() {
	local list digest failed=0
	for list in "$1"/*/*/layers; do
		[ -f "$list" ] || continue
		while read -r digest; do
			mount_layer "$digest" || failed=1
		done <"$list"
	done
	return "$failed"
}

# Mounts the volumes of the containers layer $1 that are filled from an image (`volumes:`) unless they
# are mounted: the name of a volume's folder changes with its content.
mount_volumes() {
	local volume name
	for volume in "$1"/volumes/*/; do
		[ -d "$volume" ] || continue
		volume=${volume%/}
		name=volumes/${volume##*/}
		! is_mounted "$RUN/rootfs/$name" || continue
		(load_container "$volume" && mount_rootfs "$volume" "$name") || return 1
	done
}

# --- the root file system

# Loads container.env, with defaults for what it leaves out.
load_container() {
	READONLY=1
	GROUP=
	POINTS=
	MKDIR=
	MKDIR_OWNER=0:0
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
	LOG_KEEP=memory
	CONTROL=
	UPPER_OWNER=
	IDMAP=
	DEVICES_AT=
	SETTINGS=
	ENV_AT=
	SCHEDULE_EVERY=
	SCHEDULE_MINUTES=
	SCHEDULE_HOURS=
	SCHEDULE_DAYS=
	SCHEDULE_MONTHS=
	SCHEDULE_WEEKDAYS=
	SCHEDULE_EITHER=
	SECRETS=
	SECRETS_OWNER=
	# shellcheck source=/dev/null
	[ ! -f "$1/container.env" ] || . "$1/container.env"
}

# Mounts the container's root file system at $RUN/rootfs/KIND/NAME, as root.path of config.json says.
# A device node in a layer opens nothing: devices are in the container's /dev, which is another mount.
mount_rootfs() {
	local rootfs="$RUN/rootfs/$2" upper="$RUN/upper/$2" lower='' several='' digest
	make_folders "$rootfs" "$RUN/points/$2"
	while read -r digest; do
		find_layer "$digest" "$RUN/mapped/$2" || return 1
		several=${lower:+1}
		lower=$REPLY${lower:+:$lower}
	done <"$1/layers"
	if [ -n "$POINTS" ]; then
		make_files "$RUN/points/$2"
		lower=$lower:$RUN/points/$2
		several=1
	fi
	if [ "$READONLY" != 1 ]; then
		mount_upper "$upper" || return 1
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

# The folder of the layer with the digest $1, in REPLY. With IDMAP it is a mount of it below $2 in which
# the files of user 0 belong to the first user of the container's range, and so on (mount(8),
# X-mount.idmap). This needs util-linux's mount, which the build adds.
find_layer() {
	local layer="$RUN/layers/$1"
	[ -d "$layer" ] || return 1
	if [ -n "$IDMAP" ]; then
		mkdir -p "$2/$1"
		is_mounted "$2/$1" ||
			/usr/bin/mount --bind -o "ro,nodev,X-mount.idmap=$IDMAP" "$layer" "$2/$1" || return 1
		layer=$2/$1
	fi
	REPLY=$layer
}

# Makes a tmpfs for what a container writes to its root. A full one is a matter of that container: not of
# others, and not of /run.
mount_upper() {
	mkdir -p "$1"
	is_mounted "$1" || mount -t tmpfs -o mode=755,nosuid,nodev tmpfs "$1"
}

# Makes the folder $1 of the root file system, and in the folder $2 the mount points of config.json that
# no layer has. Those that end in / are folders, the others files.
make_folders() {
	local point points="$2"
	set -- "$1"
	for point in $POINTS; do set -- "$@" "$points/${point%/*}"; done
	make_paths "$@"
}

make_files() {
	local point
	for point in $POINTS; do
		case $point in */) ;; *) : >"$1/$point" ;; esac
	done
}

# $1: KIND/NAME.
unmount_rootfs() {
	umount "$RUN/rootfs/$1" 2>/dev/null
	[ ! -d "$RUN/upper/$1" ] || umount "$RUN/upper/$1" 2>/dev/null
	rm -rf "$RUN/upper/$1" "$RUN/points/$1"
	[ ! -d "$RUN/mapped/$1" ] || unmap_layers "$RUN/mapped/$1"
}

# Only empty folders are removed: what is mounted there is not.
unmap_layers() {
	local layer
	for layer in "$1"/*; do
		umount "$layer" 2>/dev/null
		rmdir "$layer"
	done
	rmdir "$1"
}

# --- before and after the start

# Makes the host folders that the container needs, then runs its prestart script: what LinuxKit's
# `runtime` section wants before the start, and the devices.
prepare_host() {
	local folder
	remove_files "$RUN/devices/$2"
	for folder in $MKDIR; do
		make_folder "$folder" "$MKDIR_OWNER" || return 1
		check_owner "$2" "$folder"
	done
	[ ! -f "$1/prestart" ] || run_script "$1/prestart"
}

# Makes the folder $1 for the owner $2 (UID:GID) unless it exists; folders above it are root's. The
# folder gets its name when it has its owner: one that a power cut left half-made would stay root's.
make_folder() {
	local folder="${1%/}" draft
	[ ! -e "$folder" ] || return 0
	draft=${folder%/*}/.${folder##*/}.new
	mkdir -p "$draft" && chown -h "$2" "$draft" || return 1
	! mv -T "$draft" "$folder" 2>/dev/null || return 0
	rmdir "$draft" 2>/dev/null
	[ -d "$folder" ] # another container made it meanwhile
}

# Tells if the folder $2 is of a user whom the container $1 (KIND/NAME) does not have: one that existed
# before the container had user ids of its own.
check_owner() {
	local first uid
	[ -n "$IDMAP" ] || return 0
	first=${IDMAP#b:0:}
	first=${first%%:*}
	uid=$(stat -c %u "$2")
	if [ "$uid" -lt "$first" ] || [ "$uid" -ge $((first + ${IDMAP##*:})) ]; then
		say "$1: $2 belongs to user $uid: to give it to the container, chown -R $MKDIR_OWNER $2"
	fi
}

# Runs the script $1, prestart or poststart, up to its first command that fails. $2 is the
# container's first process, once it has one. The script gets a shell of its own because the caller
# tests the exit code, which would switch off `set -e` in this one.
run_script() {
	# shellcheck disable=SC2016 # for the other shell
	sh -ec '. /usr/lib/piimage/lib.sh; . /usr/lib/piimage/container.sh; PID=$2; . "$1"' \
		"${1##*/}" "$1" "${2:-}"
}

# For prestart scripts: gives a container a device of the Pi. Makes a node that the container's user
# owns, and notes a rule for this very device, whose numbers may change with each boot.
# $1: KIND/NAME, $2: the device, $3: c or b, $4: the node's mode, $5: its owner, $6: the node.
grant_device() {
	local major minor
	if [ "$3" = b ]; then [ -b "$2" ]; else [ -c "$2" ]; fi || {
		say "${1##*/}: the device $2 is missing"
		return 1
	}
	major=$((0x$(stat -L -c %t "$2")))
	minor=$((0x$(stat -L -c %T "$2")))
	mkdir -p "${6%/*}" "$RUN/devices/${1%/*}"
	rm -f "$6"
	mknod -m "$4" "$6" "$3" "$major" "$minor"
	chown "$5" "$6"
	printf ',{"access":"rw","allow":true,"major":%d,"minor":%d,"type":"%s"}\n' \
		"$major" "$minor" "$3" >>"$RUN/devices/$1"
}

# For poststart scripts: makes a pair of interfaces $1 and $2. busybox cannot name the second one: the
# kernel does, and the interface is renamed.
add_veth() {
	local peer link index
	ip link add name "$1" type veth
	[ -n "$2" ] || return 0
	read -r peer <"/sys/class/net/$1/iflink"
	for link in /sys/class/net/*; do
		read -r index 2>/dev/null <"$link/ifindex" || continue
		[ "$index" != "$peer" ] || ip link set dev "${link##*/}" name "$2"
	done
}

# --- secrets

# The names of SECRETS that have no value on this Pi, in REPLY.
find_missing_secrets() {
	local name missing=''
	for name in $SECRETS; do
		[ -f "$SECRETS_STORE/$name" ] || missing=$missing${missing:+ }$name
	done
	REPLY=$missing
}

# Copies the container's secrets to memory, where config.json binds the folder from, for the eyes of its
# user only. $1: KIND/NAME. Fails if a secret has no value.
lay_secrets() {
	local name folder="$RUN/secrets/$1"
	[ -n "$SECRETS" ] || return 0
	find_missing_secrets
	if [ -n "$REPLY" ]; then
		say "$1: not set: $REPLY (piimage secret set HOST NAME)"
		return 1
	fi
	rm -rf "$folder"
	(umask 077 && mkdir -p "$folder") || return 1
	for name in $SECRETS; do
		(umask 077 && cat "$SECRETS_STORE/$name" >"$folder/$name") || return 1
		[ -z "$SECRETS_OWNER" ] || chown "$SECRETS_OWNER" "$folder/$name" || return 1
		chmod 0400 "$folder/$name" || return 1
	done
	[ -z "$SECRETS_OWNER" ] || chown "$SECRETS_OWNER" "$folder" || return 1
	chmod 0500 "$folder"
}

# $1: KIND/NAME.
remove_secrets() { [ ! -d "$RUN/secrets/$1" ] || rm -rf "$RUN/secrets/$1"; }

# --- config.json

# The folder whose config.json is to be used, in REPLY: the container's own, or a copy for root's eyes
# only with the devices that were found on this Pi and the settings of this card.
configure() {
	local edits copy="$RUN/configured/$2"
	list_device_edits "$2" || return 1
	edits=$REPLY
	list_setting_edits || return 1
	edits=$edits$REPLY
	REPLY=$1
	[ -n "$edits" ] || return 0
	(umask 077 && mkdir -p "$copy" && apply_edits "$1/config.json" "$edits" >"$copy/config.json.new") ||
		return 1
	mv "$copy/config.json.new" "$copy/config.json"
	REPLY=$copy
}

# An edit is a line OFFSET LENGTH TEXT: at OFFSET of config.json TEXT takes the place of LENGTH bytes.
# The build states the offsets in container.env; nothing is searched for in the JSON.

# The edits, in REPLY, that insert the rules of granted devices. $1: KIND/NAME.
list_device_edits() {
	local rule edits=''
	if [ -s "$RUN/devices/$1" ]; then
		[ -n "$DEVICES_AT" ] || return 1
		while read -r rule; do
			edits="$edits$DEVICES_AT 0 $rule
"
		done <"$RUN/devices/$1"
	fi
	REPLY=$edits
}

# The edits, in REPLY, that set the variables for which the card has a setting. ENV_AT has an
# OFFSET:LENGTH for each name of SETTINGS; LENGTH 0 is the end of the environment.
list_setting_edits() {
	local name span edits=''
	# shellcheck disable=SC2086 # a list
	set -- $ENV_AT
	for name in $SETTINGS; do
		span=${1:-}
		[ -z "$span" ] || shift
		find_setting "$name" || continue
		[ -n "$span" ] || return 1
		if ! { unquote "$REPLY" && json_string "$name=$REPLY"; }; then
			say "the card's setting $name is not $name='VALUE' on one line"
			return 1
		fi
		[ "${span#*:}" -gt 0 ] || REPLY=,$REPLY
		edits="$edits${span%:*} ${span#*:} $REPLY
"
	done
	REPLY=$edits
}

# Prints the file $1 with the edits $2, which are in the order of their offsets.
apply_edits() {
	local position=0 offset length text
	[ -r "$1" ] || return 1
	while read -r offset length text; do
		[ -n "$offset" ] || continue
		tail -c "+$((position + 1))" "$1" | head -c $((offset - position))
		printf '%s' "$text"
		position=$((offset + length))
	done <<-END
		$2
	END
	tail -c "+$((position + 1))" "$1"
}

# --- health

# Checks a container's health once, as its HEALTH_ keys say. $1: its id, $2: its first process, $3: the
# folder of runc's state. `runc exec` starts a command in it at half the cost of containerd's client.
check_health() {
	case $HEALTH_KIND in
	http) run_in_network "$2" wget -q -O /dev/null "$HEALTH_TARGET" ;;
	tcp) run_in_network "$2" nc "${HEALTH_TARGET%:*}" "${HEALTH_TARGET##*:}" -e true ;;
	command)
		(
			set -- timeout -k 2 "$HEALTH_TIMEOUT" runc --root "$3" exec "$1"
			eval "\"\$@\" $HEALTH_TARGET" # a quoted argument list
		)
		;;
	esac </dev/null >/dev/null 2>&1
}

# Runs a program with a time limit, in the network of the process $1 if that is not the host's.
run_in_network() {
	local pid="$1"
	shift
	[ "$HEALTH_NETNS" != 1 ] || set -- nsenter -t "$pid" -n "$@"
	timeout -k 2 "$HEALTH_TIMEOUT" "$@"
}
