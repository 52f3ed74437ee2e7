#!/bin/sh
# Runs avahi-daemon, and keeps true what it announces: the services that listen, and how they are.
# It looks every five seconds, so the functions that give a text leave it in REPLY and start no process.
set -u
CONFIGURATION=/tmp/avahi-daemon.conf
SERVICES=/etc/avahi/services
RUN=/run/piimage
KEPT_NAME=/data/mdns/name # two words: the name of this Pi, and the one that it answers to instead
SSH_PORT=${SSH_PORT:-22}

# Prints $* in the log of this service, and on the console, where a person without a login looks.
tell() {
	echo "$*"
	echo "piimage: mdns: $*" 2>/dev/null >/dev/console
}

# The host's name, without a domain, in WANTED. In KEPT the name that this Pi answered to last time,
# because another host had WANTED; empty if there is none. RFC 6762, section 9, says to keep it.
read_names() {
	local old=''
	read -r WANTED </proc/sys/kernel/hostname
	WANTED=${WANTED%%.*}
	KEPT=
	[ ! -r "$KEPT_NAME" ] || read -r old KEPT <"$KEPT_NAME"
	case $KEPT in *[!A-Za-z0-9-]*) KEPT= ;; esac
	[ "$old" = "$WANTED" ] || KEPT=
}

# Keeps that this Pi answers to $1 in place of WANTED; nothing if that is the same name.
keep_name() {
	if [ "$1" = "$WANTED" ]; then
		rm -f "$KEPT_NAME"
	else
		echo "$WANTED $1" >"$KEPT_NAME.new" && mv "$KEPT_NAME.new" "$KEPT_NAME"
	fi
}

write_configuration() {
	local interfaces=deny-interfaces=lo
	[ -z "${MDNS_INTERFACES:-}" ] || interfaces=allow-interfaces=$MDNS_INTERFACES
	cat <<-END >"$CONFIGURATION"
		[server]
		enable-dbus=no
		$interfaces
		${KEPT:+host-name=$KEPT}
		[wide-area]
		enable-wide-area=no
		[publish]
		disable-user-service-publishing=yes
		publish-hinfo=no
		publish-workstation=no
	END
}

# The TCP ports at which programs of the host listen, in PORTS, each between colons. In the kernel's
# tables, listeners have the state 0A (Documentation/networking/proc_net_tcp.rst).
read_ports() {
	local table address state
	PORTS=:
	for table in /proc/net/tcp /proc/net/tcp6; do
		[ -r "$table" ] || continue
		while read -r _ address _ state _; do
			[ "$state" != 0A ] || PORTS=$PORTS$((0x${address##*:})):
		done <"$table"
	done
}

# Does a program of the host listen on the port $1?
listens() { case $PORTS in *":$1:"*) ;; *) return 1 ;; esac }

# How the services are, in HEALTH: unhealthy if one is, else starting if one is, else healthy. FAILING
# has the names of the unhealthy ones, separated by commas.
read_health() {
	local folder name health state
	HEALTH=healthy
	FAILING=
	for folder in "$RUN"/services/*/; do
		name=${folder%/}
		name=${name##*/}
		state=
		health=
		read -r state 2>/dev/null <"${folder}state"
		read -r health 2>/dev/null <"$RUN/health/$name"
		case $state/$health in
		back-off/* | */unhealthy) FAILING=$FAILING${FAILING:+,}$name ;;
		waiting/* | */starting) HEALTH=starting ;;
		esac
	done
	[ -z "$FAILING" ] || HEALTH=unhealthy
}

# The version that runs, in REPLY: the beginning of the digest of its containers layer.
read_version() {
	REPLY=$(readlink "$RUN/containers")
	REPLY=${REPLY##*/}
	REPLY=${REPLY%"${REPLY#????????????}"}
}

# The name of the board, in REPLY.
read_board() {
	local line
	REPLY=unknown
	[ -r "$RUN/boot" ] || return 0
	while read -r line; do
		case $line in "BOARD='"*"'") ;; *) continue ;; esac
		REPLY=${line#*\'}
		REPLY=${REPLY%\'}
	done <"$RUN/boot"
}

# One service in XML, in REPLY: its type, its port, and KEY=VALUE for each record of text.
describe_service() {
	local record
	REPLY="<service><type>$1</type><port>$2</port>"
	shift 2
	for record in "$@"; do REPLY="$REPLY<txt-record>$record</txt-record>"; done
	REPLY="$REPLY</service>"
}

# Announces the services $3 (XML) under the name $2, by the file $1: avahi watches the folder. The
# file is one line, and is left alone if it has the text.
announce() {
	local text old=''
	text="<service-group><name replace-wildcards=\"yes\">$2</name>$3</service-group>"
	[ ! -e "$SERVICES/$1.service" ] || read -r old <"$SERVICES/$1.service"
	[ "$old" != "$text" ] || return 0
	echo "$text" >/tmp/new && mv /tmp/new "$SERVICES/$1.service"
}

announce_pi() {
	local board version services=''
	read_board
	board=$REPLY
	read_version
	version=$REPLY
	read_health
	if listens "$SSH_PORT"; then
		describe_service _ssh._tcp "$SSH_PORT"
		services=$REPLY
	fi
	read_names
	describe_service _piimage._tcp "$SSH_PORT" "board=$board" "version=$version" \
		"health=$HEALTH" ${FAILING:+"failing=$FAILING"} ${KEPT:+"wanted=$WANTED"}
	announce pi %h "$services$REPLY"
}

# MDNS_PAGES is a list of NAME=PORT/PATH. A page is announced while its port is open.
announce_pages() {
	local page name rest port path
	for page in ${MDNS_PAGES:-}; do
		name=${page%%=*}
		rest=${page#*=}
		port=${rest%%/*}
		path=${rest#"$port"}
		if listens "$port"; then
			describe_service _http._tcp "$port" "path=${path:-/}"
			announce "page-$name" "$name on %h" "$REPLY"
		elif [ -e "$SERVICES/page-$name.service" ]; then
			rm "$SERVICES/page-$name.service"
		fi
	done
}

# Fails unless each page is NAME=PORT or NAME=PORT/PATH, of characters that XML gives no meaning to.
check_pages() {
	local page port
	for page in ${MDNS_PAGES:-}; do
		port=${page#*=}
		port=${port%%/*}
		case $page in
		[!A-Za-z0-9]* | *[!A-Za-z0-9_./=-]* | *=*=* | */*=*) port= ;;
		*=*) ;;
		*) port= ;;
		esac
		case $port in
		'' | 0* | *[!0-9]* | ??????*)
			echo "mdns: MDNS_PAGES: $page is not NAME=PORT or NAME=PORT/PATH" >&2
			return 1
			;;
		esac
	done
}

# Copies what avahi prints, but for its steps, and tells which name it got: another one than the host's
# if the network has a host of that name.
watch_name() {
	local line name
	while IFS= read -r line; do
		case $line in
		*'Host name is '*) ;;
		'WARNING: No NSS support'* | 'Failed to open /etc/resolv.conf'* | *'enumeration completed.') continue ;;
		Joining* | Leaving* | 'New relevant'* | 'Interface '* | Registering* | Withdrawing*) continue ;;
		Loading* | 'Service group file '* | 'Service "'*) continue ;;
		*)
			echo "$line"
			continue
			;;
		esac
		name=${line#*Host name is }
		name=${name%%.local*}
		read_names
		tell_name "$name"
		keep_name "$name"
	done
}

# Tells that this Pi answers to $1, beside WANTED and KEPT.
tell_name() {
	case $1 in
	"$WANTED") tell "this Pi answers to $1.local" ;;
	"$KEPT") tell "another host was $WANTED.local: THIS PI KEEPS THE NAME $1.local" ;;
	*) tell "another host is $WANTED.local: THIS PI ANSWERS TO $1.local" ;;
	esac
}

look() {
	read_ports
	announce_pi
	announce_pages
}

main() {
	check_pages || return 1
	read_names
	write_configuration
	look
	mkfifo /tmp/log
	watch_name </tmp/log &
	avahi-daemon --no-drop-root --no-chroot --no-rlimits -f "$CONFIGURATION" >/tmp/log 2>&1 &
	AVAHI=$!
	# avahi says goodbye on the network before it ends; a trap waits for a program, but not for `wait`.
	trap 'kill "$AVAHI" 2>/dev/null; wait "$AVAHI"; exit 0' TERM INT
	while [ -d "/proc/$AVAHI" ]; do
		sleep 5 &
		wait $!
		look
	done
	echo "mdns: avahi-daemon ended" >&2
	return 1
}

main
