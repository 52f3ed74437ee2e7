# How the runner of the service NAME asks containerd for something. Sourced by service, after lib.sh.
# shellcheck shell=dash
SHIM_LIMIT=10     # seconds
AWAY_LIMIT=40     # seconds that a client waits for a containerd that starts again
TASKS=io.containerd.runtime.v2.task/$NAMESPACE
BUNDLE=/run/containerd/state/$TASKS/$NAME
MESSAGE=$DIR/message # what the last client printed
AWAY=3               # the client's exit code if nobody listens at containerd's socket

# Asks containerd for something when it is this runner's turn, which the client waits for. A containerd
# that was killed leaves its socket, at which nobody listens until it has started again.
task() {
	local code=0 deadline
	now
	deadline=$((REPLY + AWAY_LIMIT))
	while :; do
		wait_for_containerd || return 1
		code=0
		micropython /usr/lib/piimage/task/main.py "$@" >"$MESSAGE" 2>&1 5>&- || code=$?
		if [ "$code" -ne "$AWAY" ] || [ -e "$RUN/shutdown" ]; then return "$code"; fi
		now
		[ "$REPLY" -lt "$deadline" ] || return "$code"
		nap 1
	done
}

# Has containerd start the task; PID and SHIM are its processes then.
start_task() {
	task run "$@" || return
	read_pid
	find_shim
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

# containerd may still be starting, or starting again. This shell waits, and not the client, so that a
# signal of process 1 ends the wait.
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
