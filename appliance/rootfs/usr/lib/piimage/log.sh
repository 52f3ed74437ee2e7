# Keeps the output of the service NAME in a ring of files and, if the image says so, prints it on the
# console. Sourced by service, after lib.sh and container.sh.
# containerd's shim writes what the task prints to the pipe OUTPUT, and reads from the same pipe: what
# nobody has read yet is still there when another process takes over.
# shellcheck shell=dash
OUTPUT=$DIR/output
LOG_FILE=/var/log/services/$NAME/log
LOG_TIMES=/var/log/times/$NAME
LOG_LIMIT=10 # seconds

LOGGER= # the process that reads OUTPUT; empty if there is none

# --- the runner's part

# Makes the pipe for a new task, and starts its reader. It ends when nobody can write to the pipe any
# more: that is never before `release_output`, even if containerd does not open the pipe at all.
start_logger() {
	[ -p "$OUTPUT" ] || mkfifo -m 0600 "$OUTPUT"
	open_output
	start_reader
}

# Opens the pipe as descriptor 6, by which the runner keeps what is in it; the other one is for a moment,
# so that nobody has to wait for a writer.
open_output() {
	exec 5<>"$OUTPUT"
	exec 6<"$OUTPUT"
}

release_output() { exec 5>&-; }

start_reader() {
	read_output &
	LOGGER=$!
	echo "$LOGGER" >"$DIR/logger"
}

# With `exec`, since ash keeps a copy of what a redirection of a function replaces: the reader would
# wait for itself to close the pipe.
read_output() {
	exec <&6 5>&- 6<&- 9>&-
	log_lines
}

# Starts another reader if the last one is gone without having read the task's output to its end.
keep_logging() {
	[ -n "$LOGGER" ] && [ -s "$DIR/logger" ] || return 0
	is_logging || start_reader
}

# A process that has ended has no descriptors; another one with its number has another pipe. One that
# has just begun has the pipe as descriptor 6.
is_logging() {
	[ "/proc/$LOGGER/fd/0" -ef "/proc/$$/fd/6" ] || [ "/proc/$LOGGER/fd/6" -ef "/proc/$$/fd/6" ]
}

# Reads on from the pipe of a runner that died; its reader may have died with it.
take_over_output() {
	[ -p "$OUTPUT" ] || return 0
	first_line "$DIR/logger"
	LOGGER=${REPLY:-0}
	open_output
	keep_logging
	release_output
}

# Waits until all that the task printed is in the log; a shim that hangs keeps the pipe open.
end_logger() {
	local deadline
	[ -n "$LOGGER" ] || return 0
	now
	deadline=$((REPLY + LOG_LIMIT))
	while is_logging && [ "$REPLY" -lt "$deadline" ]; do
		nap 0.2
		now
	done
	exec 6<&-
	rm -f "$OUTPUT" "$DIR/logger"
	LOGGER=
}

# --- the reader's part

# Reads the task's output to its end. Process 1 may signal the whole group: the reader goes on until the
# task has ended.
log_lines() {
	trap '' TERM INT HUP
	[ "$CONSOLE_LOGS" != 1 ] || exec 7>"$CONSOLE"
	keep_lines
	: >"$DIR/logger"
	# Spares the runner the wait for its next look at the process.
	echo exit 2>/dev/null 1<>"$DIR/events"
}

# Writes each line at once, because somebody may be following the log. A line that is too long is cut:
# it would grow in memory that no container accounts for.
keep_lines() {
	local line
	open_log
	# shellcheck disable=SC3045 # busybox ash has read -n
	while IFS= read -r -n 65536 line || [ -n "$line" ]; do
		mark_time
		printf '%s\n' "$line" >&6
		[ "$CONSOLE_LOGS" != 1 ] || printf '%s\n' "$line" >&7
		SIZE=$((SIZE + ${#line} + 1))
		# shellcheck disable=SC2153 # of container.env
		[ $((SIZE > MARKS ? SIZE : MARKS)) -lt "$LOG_SIZE" ] || rotate_log
	done
}

# The file's size, the room that its list of times takes, and the last ten seconds that are in the list.
open_log() {
	exec 6>>"$LOG_FILE" 8>>"$LOG_TIMES/log"
	SIZE=0
	MARKS=0
	SPAN=0
	[ ! -s "$LOG_FILE" ] || SIZE=$(wc -c <"$LOG_FILE")
}

rotate_log() {
	local file number
	for file in "$LOG_FILE" "$LOG_TIMES/log"; do
		number=$LOG_COUNT
		while [ "$number" -gt 1 ]; do
			[ ! -e "$file.$((number - 1))" ] || mv "$file.$((number - 1))" "$file.$number"
			number=$((number - 1))
		done
		if [ "$LOG_COUNT" -gt 0 ]; then mv "$file" "$file.1"; else rm "$file"; fi
	done
	open_log
}

# Notes when a line was printed: SECOND OFFSET for the first line of each ten seconds. The seconds count
# from the boot, because the time of day jumps when a time server is reached.
# shellcheck disable=SC3028 # busybox ash has EPOCHSECONDS
mark_time() {
	local second
	[ $((EPOCHSECONDS / 10)) -ne "$SPAN" ] || return 0
	SPAN=$((EPOCHSECONDS / 10))
	read -r second _ </proc/uptime
	printf '%s %s\n' "${second%.*}" "$SIZE" >&8
	MARKS=$((MARKS + 20))
}
