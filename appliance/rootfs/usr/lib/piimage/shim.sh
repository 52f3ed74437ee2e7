# The shim of all services. Sourced by service and by the program that stands before the shim, after
# lib.sh.
# shellcheck shell=dash
LASTING=$RUN/services/.lasting # the first process of a task that lasts

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
