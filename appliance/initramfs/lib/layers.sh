# Layers: found, checked and mounted.

# The file of the layer $1 in REPLY; layers that were deployed to /data come before the slot's.
layer_file() {
	local folder
	for folder in "$ROOT/data/piimage/layers" "$SLOT/layers"; do
		REPLY=$folder/$1.squashfs
		[ ! -f "$REPLY" ] || return 0
	done
	return 1
}

# With `verify: boot`: has the file $2 the digest $1? The digest comes from the initramfs, or from a
# layer that was checked.
is_whole() {
	[ "$VERIFY" = 1 ] || return 0
	case $WHOLE in *" $1 "*) return 0 ;; esac
	[ "$(bb sha256sum <"$2" 2>/dev/null)" != "$1  -" ] || {
		WHOLE="$WHOLE$1 "
		return 0
	}
	say "DAMAGED: $2 has not the digest in its name"
	return 1
}

# Says how many layers were checked; all mounts took $1 hundredths of a second.
say_whole() {
	local time="$1"
	# shellcheck disable=SC2086 # its words are counted
	set -- $WHOLE
	say "$# layers are whole; checked and mounted in $((time * 10)) ms"
}

# The hundredths of a second since the kernel started, in REPLY.
hundredths() {
	local rest
	read -r REPLY rest </proc/uptime
	REPLY=${REPLY%.*}${REPLY#*.}
}

mount_layer() {
	[ ! -d "$STATE/layers/$1" ] || return 0
	layer_file "$1" && is_whole "$1" "$REPLY" || return 1
	bb mkdir "$STATE/layers/$1"
	bb mount -t squashfs -o ro,nodev,loop "$REPLY" "$STATE/layers/$1" && return 0
	bb rmdir "$STATE/layers/$1"
	return 1
}

mount_system() {
	local lower='' count=0 digest
	while read -r digest; do
		[ -n "$digest" ] || continue
		mount_layer "$digest" || fail "system layer $digest is missing or broken"
		lower=$STATE/layers/$digest${lower:+:$lower}
		count=$((count + 1))
	done <"$CONF/system-layers"
	case $count in
	0) fail "the initramfs names no system layer" ;;
	1) bb mount -o bind,ro,nodev "$lower" "$ROOT" ;;
	*) bb mount -t overlay -o "ro,nodev,lowerdir=$lower" overlay "$ROOT" ;;
	esac || fail "cannot mount the system's root"
	bb mount -t tmpfs -o mode=755,nosuid,nodev tmpfs "$ROOT/var"
	bb ln -s ../run "$ROOT/var/run"
	bb mount -t tmpfs -o mode=1777,nosuid,nodev tmpfs "$ROOT/tmp"
}
