# What confines containers besides their config.json: AppArmor's profiles, and a share of the memory and
# of the processes. Sourced after lib.sh.
# shellcheck shell=dash
GROUPS_ROOT=/sys/fs/cgroup
SECURITY=/sys/kernel/security

# --- AppArmor

# Mounts the kernel's security files, which containers do not see: their /sys is another mount.
mount_security() {
	[ ! -d "$SECURITY" ] || is_mounted "$SECURITY" ||
		mount -t securityfs -o nosuid,nodev,noexec securityfs "$SECURITY" ||
		say "$SECURITY cannot be mounted"
}

# Loads the profiles that the build compiled for the containers of the containers layer $1. One that is
# loaded is replaced. A container whose profile is not loaded does not start: runc refuses it.
load_profiles() {
	local profile
	for profile in "$1"/apparmor/*; do
		[ -f "$profile" ] || continue
		load_profile "$profile" || say "AppArmor profile ${profile##*/} did not load"
	done
}

# The kernel takes a profile in a single write.
load_profile() { dd if="$1" of="$SECURITY/apparmor/.replace" bs=1M conv=notrunc 2>/dev/null; }

# --- limits

# A container that has no limits of its own gets these, which depend on the Pi's size. They are set in
# its control group before the start: runc keeps what config.json does not mention.

# The memory of the Pi in KiB, in REPLY.
read_memory() {
	local key value
	REPLY=0
	while read -r key value _; do
		[ "$key" = MemTotal: ] || continue
		REPLY=$value
		return 0
	done </proc/meminfo
}

# The memory in KiB that all containers together may use, in REPLY. The system keeps a quarter, at most
# 512 MiB, for the kernel, containerd and a shim for each service.
containers_memory() {
	local reserve
	read_memory
	reserve=$((REPLY / 4))
	[ "$reserve" -le 524288 ] || reserve=524288
	REPLY=$((REPLY - reserve))
}

# Limits all containers together. The kernel allows some 8 processes for each MiB of memory (threads-max),
# which no fork bomb may reach.
limit_containers() {
	make_group piimage || {
		say "memory and processes of containers are not limited: the kernel refuses the controllers"
		return 0
	}
	containers_memory
	set_limit piimage memory.max "${REPLY}K"
	read_memory
	set_limit piimage pids.max $((REPLY * 6 / 1024))
}

# Limits the container whose control group $1 is below piimage/: three quarters of the memory of all
# containers, and a process for each MiB of the Pi's memory.
limit_container() {
	make_group "piimage/$1" || return 0
	containers_memory
	set_limit "piimage/$1" memory.max "$((REPLY * 3 / 4))K"
	read_memory
	set_limit "piimage/$1" pids.max $((REPLY / 1024))
}

# Makes the control group $1, with the controllers of its limits in every group above it. Another runner
# may make the same groups at this moment.
make_group() {
	local folder=$GROUPS_ROOT rest="$1"
	[ ! -e "$folder/$1/memory.max" ] || [ ! -e "$folder/$1/pids.max" ] || return 0
	while [ -n "$rest" ]; do
		echo '+memory +pids' 2>/dev/null >"$folder/cgroup.subtree_control" || return 1
		folder=$folder/${rest%%/*}
		case $rest in */*) rest=${rest#*/} ;; *) rest= ;; esac
		[ -d "$folder" ] || mkdir -p "$folder" || return 1
	done
}

# Writes $3 to the file $2 of the group $1.
set_limit() { echo "$3" 2>/dev/null >"$GROUPS_ROOT/$1/$2" || say "the limit $2 of $1 cannot be set"; }
