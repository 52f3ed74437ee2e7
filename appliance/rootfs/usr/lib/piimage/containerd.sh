# How the runner of the service NAME asks containerd for something. Sourced by service, after lib.sh.
# shellcheck shell=dash
TURN=$RUN/services/.turn
TURN_MEMORY=98304 # KiB of the Pi's memory for each turn
SHIM_LIMIT=10     # seconds
AWAY_LIMIT=40     # seconds that a client waits for a containerd that starts again
TASKS=io.containerd.runtime.v2.task/$NAMESPACE
BUNDLE=/run/containerd/state/$TASKS/$NAME
MESSAGE=$DIR/message # what the last client printed
LEADER=$RUN/services/.leader # the service whose shim serves new tasks too
AWAY=3                       # the client's exit code if nobody listens at containerd's socket
SHIM_GONE=4                  # and if the leader's shim is no longer there

TURNS=1 # clients of containerd that may run at once

# Asks containerd for something when it is this runner's turn: a dozen starts at once would starve a
# Pi Zero. A turn is a lock of the shell that waits for the client, and of no process that the shell
# starts: it ends when that shell does. This shell waits itself, and no copy of it, so that a signal of
# process 1 ends a wait for containerd.
task() {
	local number=0
	while [ "$number" -lt "$TURNS" ]; do
		{ flock -n 8 && { ask_containerd "$@"; return; }; } 8>>"$TURN$number"
		number=$((number + 1))
	done
	{ flock 8 && ask_containerd "$@"; } 8>>"$TURN$(($$ % TURNS))"
}

# A containerd that was killed leaves its socket, at which nobody listens until it has started again.
ask_containerd() {
	local code=0 deadline
	now
	deadline=$((REPLY + AWAY_LIMIT))
	while :; do
		wait_for_containerd || return 1
		code=0
		micropython /usr/lib/piimage/task/main.py "$@" >"$MESSAGE" 2>&1 4>&- 5>&- 8>&- || code=$?
		if [ "$code" -ne "$AWAY" ] || [ -e "$RUN/shutdown" ]; then return "$code"; fi
		now
		[ "$REPLY" -lt "$deadline" ] || return "$code"
		nap 1
	done
}

# Has containerd start the task; PID and SHIM are its processes then. The shim of a task that runs
# serves it too, without a program in Go that would look for this shim. If there is none, starts go one
# after another: of two shims that begin at once the second one takes the first one's socket, and a
# containerd that starts again would find the tasks of the first no more.
run_task() {
	local code=0
	if find_leader; then
		start_task "$@" "$REPLY" || code=$?
		[ "$code" -eq "$SHIM_GONE" ] || return "$code"
		rm -f "$LEADER"
	fi
	{ flock 4 && run_first "$@"; } 4>>"$LEADER.lock"
}

# Others have waited for the same lock: they need it no longer if there is a shim by now.
run_first() {
	if find_leader; then
		exec 4>&-
		run_task "$@"
		return
	fi
	start_task "$@" || return
	echo "$SHIM $NAME" >"$LEADER"
}

start_task() {
	task run "$@" || return
	read_pid
	find_shim
}

# The service whose task has a shim that others can share, in REPLY.
find_leader() {
	local leader
	first_line "$LEADER"
	leader=$REPLY
	is_shim "${leader%% *}" && REPLY=${leader#* }
}

# Lets nobody count on the shim of this service's task any more.
stop_leading() {
	first_line "$LEADER"
	[ "${REPLY#* }" != "$NAME" ] || rm -f "$LEADER"
}

# The parent of the task's first process, in SHIM.
find_shim() {
	first_line "/proc/$PID/stat"
	# The name of a program, in brackets, may have blanks and brackets itself.
	REPLY=${REPLY##*) ? }
	SHIM=${REPLY%% *}
}

# Is the process $1 a shim?
is_shim() {
	first_line "/proc/${1:-none}/comm"
	[ "$REPLY" = containerd-shim ]
}

# As many turns as there are processors, if memory is enough for them; in TURNS.
count_turns() {
	local memory
	first_line /sys/devices/system/cpu/online # such as 0-3
	REPLY=${REPLY##*[-,]}
	TURNS=$((${REPLY:-0} + 1))
	read -r _ memory _ </proc/meminfo
	[ "$TURNS" -le $((memory / TURN_MEMORY)) ] || TURNS=$((memory / TURN_MEMORY))
	[ "$TURNS" -ge 1 ] || TURNS=1
}

# containerd may still be starting, or starting again. Only those whose turn it is look.
wait_for_containerd() {
	: >"$MESSAGE"
	until [ -S /run/containerd/containerd.sock ]; do
		[ "$STOPPING" = 0 ] || return 1
		nap 0.2
	done
}

# Deletes the task and the container; the task's exit code, or that of the client, in REPLY. What the
# shim of a task has not deleted because it was killed, runc does.
delete_task() {
	local code=0
	stop_leading
	task delete "$NAME" || code=$?
	[ ! -d "$BUNDLE" ] || [ "$code" -eq "$AWAY" ] || end_start
	if [ "$code" -eq 0 ]; then
		[ ! -d "$RUNC/$NAME" ] || runc --root "$RUNC" delete -f "$NAME" 2>/dev/null
		first_line "$MESSAGE"
		code=${REPLY:-137}
	fi
	REPLY=$code
}

# Ends a start that hung: containerd no longer knows it, and its folder is in the way of every other
# start. What was started for it works in that folder, and so may the shim of all services, which is
# ended only if the folder is still there without it: all services start again then. containerd cleans
# up, and must have done so before the next start.
end_start() {
	end_processes spare_shim
	wait_for_clean_up
	[ -d "$BUNDLE" ] || return 0
	end_processes all
	wait_for_clean_up
	[ -d "$BUNDLE" ] || return 0
	runc --root "$RUNC" delete -f "$NAME" 2>/dev/null
	rm -rf "$BUNDLE" "/run/containerd/root/$TASKS/$NAME"
}

# Ends the processes that work in the task's folder, each with those of its group. $1: `spare_shim`
# leaves out the shim, which process 1 has adopted.
end_processes() {
	local process parent
	for process in /proc/[0-9]*; do
		[ "$process/cwd" -ef "$BUNDLE" ] || continue
		# The name of a program is the second word, and has no blanks here.
		read -r _ _ _ parent _ <"$process/stat" || continue
		[ "$1 $parent" != "spare_shim 1" ] || continue
		kill -KILL "-${process#/proc/}" || kill -KILL "${process#/proc/}"
	done 2>/dev/null
}

wait_for_clean_up() {
	local left=$SHIM_LIMIT
	while [ -d "$BUNDLE" ] && [ "$left" -gt 0 ]; do
		nap 1
		left=$((left - 1))
	done
}
