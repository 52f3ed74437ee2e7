# Makes the data partition in a GPT reach the end of the disk; only of boards with a GPT.
# Source: UEFI specification 2.10, section 5.3; RFC 1952 for the end of what gzip writes.

GPT=/run/piimage/gpt

# The eight bytes of the number $1, the lowest first, on standard output.
little_endian() {
	local bytes='' bit=0
	while [ "$bit" -lt 64 ]; do
		bytes=$bytes$(printf '\\x%02x' $(($1 >> bit & 255)))
		bit=$((bit + 8))
	done
	# shellcheck disable=SC2059 # the bytes are the format
	printf "$bytes"
}

# Puts standard input into the file $1 at the offset $2.
patch() { bb dd of="$1" bs=1 seek="$2" conv=notrunc 2>/dev/null; }

# The CRC-32 of the file $1, four bytes on standard output: gzip ends with it, and with the length.
checksum() { bb gzip -c "$1" | bb tail -c 8 | bb head -c 4; }

# Makes the header $1 that of the copy in sector $2, whose entries begin in sector $4; $3 is the sector
# of the other copy. The last sector of the disk is $5.
make_header() {
	bb cp "$GPT/header" "$1"
	little_endian "$2" | patch "$1" 24
	little_endian "$3" | patch "$1" 32
	little_endian $(($5 - 33)) | patch "$1" 48
	little_endian "$4" | patch "$1" 72
	checksum "$GPT/entries" | patch "$1" 88
	printf '\0\0\0\0' | patch "$1" 16
	bb head -c 92 "$1" >"$GPT/summed"
	checksum "$GPT/summed" | patch "$1" 16
}

# Gives partition $2 of the disk $1, which has $3 sectors, all of the rest. The copy at the end of the
# disk is written first: if the power is cut then, or within the other copy, one of them is whole.
grow_gpt() {
	local disk="$1" last=$(($3 - 1))
	bb mkdir -p "$GPT"
	bb dd if="$disk" of="$GPT/header" bs=512 skip=1 count=1 2>/dev/null
	bb dd if="$disk" of="$GPT/entries" bs=512 skip=2 count=32 2>/dev/null
	[ "$(bb head -c 8 "$GPT/header")" = "EFI PART" ] || {
		say "$disk has no GPT in its second sector"
		return 1
	}
	little_endian $((last - 33)) | patch "$GPT/entries" $((128 * ($2 - 1) + 40))
	make_header "$GPT/first" 1 "$last" 2 "$last"
	make_header "$GPT/second" "$last" 1 $((last - 32)) "$last"
	bb cat "$GPT/entries" "$GPT/second" |
		bb dd of="$disk" bs=512 seek=$((last - 32)) conv=notrunc 2>/dev/null
	bb sync
	bb cat "$GPT/first" "$GPT/entries" | bb dd of="$disk" bs=512 seek=1 conv=notrunc 2>/dev/null
	bb rm -r "$GPT"
}
