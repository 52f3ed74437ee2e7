# Shared by the programs in this folder, which source it. It starts no process by itself. To start one
# costs a Pi Zero milliseconds, and so does reading a long line: `read` takes it byte by byte.
#
# How functions are written, here and in container.sh (docs/decisions/0126-shell-on-the-pi.md):
# - Variables in lower case are `local` to their function. Those in upper case are the program's state.
# - The exit code says whether a function succeeded, or answers its question. A function that gives a
#   value leaves it in REPLY; the caller takes it before it calls anything else.
# - Files of values are parsed. Only container.env and a container's scripts are sourced: the build
#   writes them into layers that are named by their digests.
# shellcheck shell=dash
RUN=/run/piimage
CONSOLE=/dev/console
NAMESPACE=services.linuxkit
CARD_SETTINGS=/data/piimage/provision/settings
SECRETS_STORE=/data/piimage/provision/secrets
TRY_ORDERED=$RUN/try-boot # exists when a restart is to set the flag of a try
TAB='	'
export PATH=/usr/sbin:/usr/bin

# Prints a line on /dev/console, which is the last console= of the kernel's command line, and on a
# screen as well, unless the file says `console: false`. On a card for a test every line begins with a
# seal: services also print on the console, but cannot know the seal.
say() {
	local seal='' consoles=''
	[ ! -r "$RUN/console-seal" ] || read -r seal <"$RUN/console-seal"
	echo "${seal:+[$seal] }piimage: $*" >"$CONSOLE"
	[ -e /sys/class/graphics/fb0 ] || return 0
	read -r consoles 2>/dev/null </sys/class/tty/console/active || :
	case $consoles in *tty0*) echo "piimage: $*" >/dev/tty0 ;; esac
}

# Marks a phase of the boot, for benchmarks.
phase() { say "phase $1"; }

# Seconds since boot, in REPLY.
now() {
	read -r REPLY _ </proc/uptime
	REPLY=${REPLY%.*}
}

# The first line of the file $1 in REPLY; empty if the file does not exist.
first_line() {
	REPLY=
	[ ! -r "$1" ] || read -r REPLY <"$1" || :
}

# Removes files, of which most are not there.
remove_files() {
	local file
	for file; do
		[ -e "$file" ] || [ -L "$file" ] || continue
		rm -f "$@"
		return
	done
}

# Makes those of these folders that do not exist, and the folders above them.
make_paths() {
	local path
	for path; do
		shift
		[ -d "$path" ] || set -- "$@" "$path"
	done
	[ $# = 0 ] || mkdir -p "$@"
}

# The text $1 with every $2 replaced by $3, in REPLY.
replace_all() {
	local rest="$1" text=''
	while :; do
		case $rest in
		*"$2"*)
			text=$text${rest%%"$2"*}$3
			rest=${rest#*"$2"}
			;;
		*) break ;;
		esac
	done
	REPLY=$text$rest
}

# The value of the word $1, as sh quotes words, in REPLY; fails if sh would expand anything in it.
unquote() {
	local rest="$1" value='' part
	while [ -n "$rest" ]; do
		case $rest in
		\'*\'*)
			rest=${rest#\'}
			part=${rest%%\'*}
			rest=${rest#*\'}
			;;
		\"*\"*)
			rest=${rest#\"}
			part=${rest%%\"*}
			rest=${rest#*\"}
			case $part in *[\\\$\`]*) return 1 ;; esac
			;;
		\\?*)
			rest=${rest#\\}
			part=${rest%"${rest#?}"}
			rest=${rest#?}
			;;
		*)
			part=${rest%%[\'\"\\]*}
			rest=${rest#"$part"}
			case $part in '' | *[[:space:]\$\`\&\;\|\<\>\(\)\~]*) return 1 ;; esac
			;;
		esac
		value=$value$part
	done
	REPLY=$value
}

# Sets the variables that the lines KEY='VALUE' of the file $1 name. Nothing in it is executed; any
# other line is reported and skipped.
load_values() {
	local line
	while read -r line || [ -n "$line" ]; do
		case $line in '' | \#*) continue ;; esac
		assign "${line%%=*}" "${line#*=}" || say "$1: a line is not KEY='VALUE'"
	done <"$1"
}

# Sets the variable $1 to the value of the word $2.
assign() {
	case $1 in '' | *[!A-Z_]*) return 1 ;; esac
	unquote "$2" && eval "$1=\$REPLY"
}

# Loads what the initramfs found out, and the settings of the image.
load_facts() {
	load_settings
	load_values "$RUN/boot"
}

# Loads the settings of the image.
load_settings() {
	CONSOLE_LOGS=0
	DATA_MOUNT=
	[ ! -r /etc/piimage/settings ] || load_values /etc/piimage/settings
}

# Loads what the initramfs left of the board alone: TRY and the like.
load_board() {
	TRY=tryboot
	[ ! -r "$RUN/boot" ] || load_values "$RUN/boot"
}

# What the card's settings (`piimage flash --set`) say of $1, still quoted, in REPLY; fails if they do
# not name it. Of two lines the last one counts.
find_setting() {
	local line word='' found=''
	[ -r "$CARD_SETTINGS" ] || return 1
	while read -r line || [ -n "$line" ]; do
		case $line in
		"$1="*)
			word=${line#*=}
			found=1
			;;
		esac
	done <"$CARD_SETTINGS"
	REPLY=$word
	[ -n "$found" ]
}

# The text $1 as a JSON string, in REPLY; fails if it has a control character other than a tab.
json_string() {
	local controls
	controls=$(printf '\001-\037')
	replace_all "$1" \\ \\\\
	replace_all "$REPLY" \" \\\"
	replace_all "$REPLY" "$TAB" \\t
	case $REPLY in *[$controls]*) return 1 ;; esac
	REPLY="\"$REPLY\""
}

# Is anything mounted at the path $1?
is_mounted() {
	replace_all "$(readlink -f "$1")" \\ '\134'
	replace_all "$REPLY" ' ' '\040'
	[ -n "$REPLY" ] || return 1
	grep -qF " $REPLY " /proc/mounts
}
