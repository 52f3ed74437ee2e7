# Which containers run: those of a deploy, or those of the slot.

# Takes the containers layer of the generation $1, which a deploy left under /data, if it can be used:
# it was found healthy, replaces what this slot ships, and is complete.
try_generation() {
	local folder="$ROOT/data/piimage/$1" layer
	[ -f "$folder/good" ] || return 1
	first_line "$folder/base"
	[ "$REPLY" = "$SLOT_CONTAINERS" ] || return 1
	first_line "$folder/containers"
	layer=$REPLY
	is_digest "$layer" || return 1
	mount_layer "$layer" || {
		say "generation $1: containers layer $layer is missing or broken"
		return 1
	}
	has_all_layers "generation $1" "$layer" || return 1
	CONTAINERS=$layer
}

# What is read from /data becomes a path and a value for other scripts.
is_digest() {
	case $1 in '' | *[!0-9a-f]*) return 1 ;; esac
}

# Is every layer there that the containers of $1, in the layer $2, consist of?
has_all_layers() {
	local list digest
	for list in "$STATE/layers/$2"/*/*/layers; do
		[ -f "$list" ] || continue
		while read -r digest; do
			[ ! -d "$STATE/layers/$digest" ] || continue
			layer_file "$digest" && is_whole "$digest" "$REPLY" && continue
			say "$1: layer $digest is missing or broken"
			return 1
		done <"$list"
	done
}

choose_containers() {
	local name
	first_line "$CONF/containers-layer"
	SLOT_CONTAINERS=$REPLY
	CONTAINERS=
	CONTAINERS_FROM=slot
	if [ -L "$ROOT/data/piimage/current.$SLOT_CONTAINERS" ]; then
		for name in current previous; do
			try_generation "$name.$SLOT_CONTAINERS" || continue
			CONTAINERS_FROM=$name
			break
		done
		[ -n "$CONTAINERS" ] || say "no good generation for this slot under /data; using the slot's"
	fi
	if [ -z "$CONTAINERS" ]; then
		CONTAINERS=$SLOT_CONTAINERS
		mount_layer "$CONTAINERS" || fail "containers layer $CONTAINERS is missing or broken"
		[ "$VERIFY" = 0 ] || has_all_layers "the slot" "$CONTAINERS" ||
			fail "the slot is damaged"
	fi
	bb ln -s "layers/$CONTAINERS" "$STATE/containers"
}
