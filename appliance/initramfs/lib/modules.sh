# Kernel modules, with the parameters of the command line.

# Loads the modules of the list $1: `modules` for the most likely disk, `modules-other` for others.
load_modules() {
	local module
	[ -r "$CONF/$1" ] || return 0
	while read -r module; do
		[ -n "$module" ] || continue
		parameters_of "${module%% *}"
		# shellcheck disable=SC2086 # a line may carry parameters after the path
		load_module $module $REPLY
	done <"$CONF/$1"
}

# Loads the module of the file $1 with parameters. That its hardware is not there, such as that of
# another cloud, is no fault.
load_module() {
	local message
	message=$(bb insmod "$@" 2>&1) && return 0
	case $message in *'No such device'*) ;; *) say "module $* did not load" ;; esac
}

# The parameters that the kernel's command line has for the module of the file $1, in REPLY, as for a
# module that is built in: some adapters of USB disks need usb-storage.quirks=.
parameters_of() {
	local file="${1##*/}" parameters='' word module
	with_underscores "${file%.ko}"
	module=$REPLY
	# shellcheck disable=SC2153 # of settings.sh
	for word in $PARAMETERS; do
		with_underscores "${word%%.*}"
		[ "$REPLY" != "$module" ] || parameters="$parameters ${word#*.}"
	done
	REPLY=$parameters
}

# $1 with _ for -, in REPLY: in names of modules the kernel takes them for the same.
with_underscores() {
	REPLY=$1
	while :; do
		case $REPLY in
		*-*) REPLY=${REPLY%%-*}_${REPLY#*-} ;;
		*) return 0 ;;
		esac
	done
}

# Loads the modules of other disks at once if the boot loader read one of them.
load_modules_for_kind() {
	case $KIND in /usb | /nvme) load_other_modules ;; esac
}

load_other_modules() {
	[ -z "$OTHERS_LOADED" ] || return 0
	OTHERS_LOADED=1
	load_modules modules-other
}
