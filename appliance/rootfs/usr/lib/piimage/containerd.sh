# How the runner of the service NAME asks containerd for something. Sourced by service, after lib.sh.
# shellcheck shell=dash
TURN=$RUN/services/.turn
TURN_MEMORY=98304 # KiB of the Pi's memory for each turn
CTR_LIMIT=120     # seconds
SHIM_LIMIT=10     # seconds
AWAY_LIMIT=40     # seconds that a client waits for a containerd that starts again
TASKS=io.containerd.runtime.v2.task/$NAMESPACE
BUNDLE=/run/containerd/state/$TASKS/$NAME
MESSAGE=$DIR/message # what the last client printed
LASTING=$RUN/services/.lasting # the first process of a task that lasts
LASTS=5                         # seconds

TURNS=1 # clients of containerd that may run at once

# Runs containerd's client when it is this runner's turn: each client takes 20 MB and most of a second
# of a processor, and a dozen at once would starve a Pi Zero. A turn is a lock of the shell that waits
# for the client, and of no process that the shell starts: it ends when that shell does. This shell
# waits itself, and no copy of it, so that a signal of process 1 ends a wait for containerd.
ctr() {
	local number=0
	while [ "$number" -lt "$TURNS" ]; do
		{ flock -n 8 && { run_ctr "$@"; return; }; } 8>>"$TURN$number"
		number=$((number + 1))
	done
	{ flock 8 && run_ctr "$@"; } 8>>"$TURN$(($$ % TURNS))"
}

# A containerd that was killed leaves its socket, at which nobody listens until it has started again.
run_ctr() {
	local code=0 deadline
	now
	deadline=$((REPLY + AWAY_LIMIT))
	while :; do
		wait_for_containerd || return 1
		code=0
		GOMAXPROCS=1 GOGC=off timeout -k 5 $CTR_LIMIT ctr -n "$NAMESPACE" "$@" \
			>"$MESSAGE" 2>&1 4>&- 5>&- 8>&- || code=$?
		if [ "$code" -eq 0 ] || ! is_away || [ -e "$RUN/shutdown" ]; then return "$code"; fi
		now
		[ "$REPLY" -lt "$deadline" ] || return "$code"
		nap 1
	done
}

# Was nobody there whom the last client could ask?
is_away() { grep -q '^ctr: failed to dial' "$MESSAGE"; }

# Has containerd start the task. As long as no task lasts, starts go one after another: of two shims that
# begin at once the second one takes the first one's socket, and a containerd that starts again would
# find the tasks of the first no more. A shim ends with its last task, so tasks that end soon prove nothing.
run_task() {
	if has_shim; then
		ctr run "$@"
	else
		{ flock 4 && run_alone "$@"; } 4>>"$LASTING.lock"
	fi
}

# Others have waited for the same lock: they need not go alone if there is a shim by now.
run_alone() {
	! has_shim || exec 4>&-
	ctr run "$@"
}

# Does a task live that has lasted, and so the shim that has adopted it?
has_shim() {
	first_line "$LASTING"
	[ -n "$REPLY" ] || return 1
	first_line "/proc/$REPLY/stat"
	# The name of a program, in brackets, may have blanks and brackets itself.
	REPLY=${REPLY##*) ? }
	first_line "/proc/${REPLY%% *}/comm"
	[ "$REPLY" = containerd-shim ]
}

# Names this service's task as the one that lasts, if there is none.
note_lasting() {
	now
	[ $((REPLY - STARTED)) -ge $LASTS ] && ! has_shim || return 0
	echo "$PID" >"$LASTING"
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

# Deletes the task and the container; the task's exit code, or that of the client, in REPLY. Nobody asks
# for the code of a service that has to stop, and one client can delete both.
delete_task() {
	local code=0
	if [ "$STOPPING" != 1 ] || ! ctr containers delete "$NAME"; then
		ctr tasks delete -f "$NAME" || code=$?
		find_exit_code || REPLY=$code
		code=$REPLY
		ctr containers delete "$NAME"
	fi
	[ ! -d "$BUNDLE" ] || is_away || end_start
	REPLY=$code
}

# The exit code of the task that was deleted, in REPLY: the client itself exits with 0 if the task
# failed, and warns of its code.
find_exit_code() {
	while read -r REPLY; do
		case $REPLY in
		*"non-zero exit code "*)
			REPLY=${REPLY##*non-zero exit code }
			REPLY=${REPLY%%[!0-9]*}
			return 0
			;;
		esac
	done <"$MESSAGE"
	return 1
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
