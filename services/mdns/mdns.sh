#!/bin/sh
# Runs avahi-daemon, and keeps true what it announces: the services that listen, and how they are.
set -u
CONFIGURATION=/tmp/avahi-daemon.conf
SERVICES=/etc/avahi/services
RUN=/run/piimage
SSH_PORT=${SSH_PORT:-22}

# Prints $* in the log of this service, and on the console, where a person without a login looks.
tell() {
	echo "$*"
	echo "piimage: mdns: $*" 2>/dev/null >/dev/console
}

write_configuration() {
	cat <<-END >"$CONFIGURATION"
		[server]
		enable-dbus=no
		${MDNS_INTERFACES:+allow-interfaces=$MDNS_INTERFACES}
		[wide-area]
		enable-wide-area=no
		[publish]
		disable-user-service-publishing=yes
		publish-hinfo=no
		publish-workstation=no
	END
}

# Does a program of the host listen on the TCP port $1? The kernel's table has ports in hexadecimal and
# state 0A for a listener (Documentation/networking/proc_net_tcp.rst).
listens() {
	local port address state
	port=$(printf ':%04X' "$1")
	while read -r _ address _ state _; do
		case $address$state in *"${port}0A") return 0 ;; esac
	done <<-END
		$(cat /proc/net/tcp /proc/net/tcp6 2>/dev/null)
	END
	return 1
}

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

# The version that runs: the beginning of the digest of its containers layer, in REPLY.
read_version() {
	REPLY=$(readlink "$RUN/containers")
	REPLY=${REPLY##*/}
	REPLY=${REPLY%"${REPLY#????????????}"}
}

# The name of the board, in REPLY.
read_board() {
	local line
	REPLY=unknown
	while read -r line; do
		case $line in "BOARD='"*"'") ;; *) continue ;; esac
		REPLY=${line#*\'}
		REPLY=${REPLY%\'}
	done <"$RUN/boot"
}

# A group of services for avahi: its name, and lines of XML.
print_group() {
	local name="$1"
	shift
	echo "<service-group><name replace-wildcards=\"yes\">$name</name>"
	printf '%s\n' "$@" '</service-group>'
}

# One service: its type, its port, and KEY=VALUE for each record of text.
print_service() {
	local type="$1" port="$2"
	shift 2
	echo "<service><type>$type</type><port>$port</port>"
	[ $# -eq 0 ] || printf '<txt-record>%s</txt-record>\n' "$@"
	echo '</service>'
}

print_pi() {
	local board version login=''
	read_board
	board=$REPLY
	read_version
	version=$REPLY
	read_health
	! listens "$SSH_PORT" || login=$(print_service _ssh._tcp "$SSH_PORT")
	print_group %h "$login" "$(print_service _piimage._tcp "$SSH_PORT" "board=$board" \
		"version=$version" "health=$HEALTH" ${FAILING:+"failing=$FAILING"})"
}

# Replaces the file $1 of avahi's by the text $2, if it differs: avahi watches the folder.
announce() {
	local old=''
	[ ! -e "$1" ] || old=$(cat "$1")
	[ "$old" != "$2" ] || return 0
	echo "$2" >/tmp/new && mv /tmp/new "$1"
}

# MDNS_PAGES is a list of NAME=PORT/PATH. A page is announced while its port is open.
announce_pages() {
	local page name rest port path file
	for page in ${MDNS_PAGES:-}; do
		name=${page%%=*}
		rest=${page#*=}
		port=${rest%%/*}
		path=${rest#"$port"}
		file=$SERVICES/page-$name.service
		if listens "$port"; then
			announce "$file" "$(print_group "$name on %h" \
				"$(print_service _http._tcp "$port" "path=${path:-/}")")"
		else
			rm -f "$file"
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

# Copies what avahi prints, and tells on the console which name it got: another one if the network
# has a host of this name.
watch_name() {
	local line name wanted
	while IFS= read -r line; do
		echo "$line"
		case $line in *'Host name is '*) ;; *) continue ;; esac
		name=${line#*Host name is }
		name=${name%%.local*}
		read -r wanted </proc/sys/kernel/hostname
		wanted=${wanted%%.*}
		if [ "$name" = "$wanted" ]; then
			tell "this Pi answers to $name.local"
		else
			tell "another host is $wanted.local: THIS PI ANSWERS TO $name.local"
		fi
	done
}

main() {
	check_pages || return 1
	write_configuration
	mkfifo /tmp/log
	watch_name </tmp/log &
	announce "$SERVICES/pi.service" "$(print_pi)"
	avahi-daemon --no-drop-root --no-chroot --no-rlimits -f "$CONFIGURATION" >/tmp/log 2>&1 &
	AVAHI=$!
	trap 'kill "$AVAHI" 2>/dev/null; exit 0' TERM INT
	while [ -d "/proc/$AVAHI" ]; do
		announce "$SERVICES/pi.service" "$(print_pi)"
		announce_pages
		sleep 5
	done
	echo "mdns: avahi-daemon ended" >&2
	return 1
}

main
