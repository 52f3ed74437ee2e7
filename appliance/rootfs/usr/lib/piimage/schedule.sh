# When a service with `schedule:` runs. Sourced by `service`, whose state it uses. SCHEDULE_EVERY is a
# period in seconds. SCHEDULE_MINUTES, _HOURS, _DAYS, _MONTHS and _WEEKDAYS are lists of numbers, and
# SCHEDULE_EITHER says that a day of the month or of the week is enough, as crontab(5) has it.
# shellcheck shell=dash

CHECKED=    # the minute since 1970 that was compared last
BEGAN=      # seconds since boot at which the last run of SCHEDULE_EVERY began
MOST_LATE=5 # minutes: what the Pi slept through is made up for; a clock that was set is not

is_scheduled() { [ -n "$SCHEDULE_EVERY$SCHEDULE_MINUTES" ]; }

# Is the number $1 in the list $2?
is_listed() {
	case " $2 " in *" $1 "*) return 0 ;; esac
	return 1
}

# Does a run begin in the minute $1 since 1970?
is_due() {
	local minute hour day month weekday
	# shellcheck disable=SC2046 # five numbers; the first of two digits may be 0
	set -- $(date -d "@$(($1 * 60))" '+%M %H %d %m %w')
	minute=${1#0} hour=${2#0} day=${3#0} month=${4#0} weekday=$5
	is_listed "$minute" "$SCHEDULE_MINUTES" || return 1
	is_listed "$hour" "$SCHEDULE_HOURS" || return 1
	is_listed "$month" "$SCHEDULE_MONTHS" || return 1
	if [ "$SCHEDULE_EITHER" = 1 ]; then
		is_listed "$day" "$SCHEDULE_DAYS" || is_listed "$weekday" "$SCHEDULE_WEEKDAYS"
	else
		is_listed "$day" "$SCHEDULE_DAYS" && is_listed "$weekday" "$SCHEDULE_WEEKDAYS"
	fi
}

# Has a minute begun since the last call in which a run is due? The minute of the first call counts as
# compared: a service that is started within it waits for the next one.
has_come() {
	local now_minute
	now_minute=$(($(date +%s) / 60))
	[ -n "$CHECKED" ] || CHECKED=$now_minute
	# A clock that was set, in either direction, makes up for nothing and repeats nothing much.
	[ $((now_minute - CHECKED)) -le "$MOST_LATE" ] || CHECKED=$((now_minute - 1))
	[ $((CHECKED - now_minute)) -le 60 ] || CHECKED=$now_minute
	while [ "$CHECKED" -lt "$now_minute" ]; do
		CHECKED=$((CHECKED + 1))
		! is_due "$CHECKED" || return 0
	done
	return 1
}

# Is a run due, by the schedule or because somebody asked for one?
is_time() {
	[ ! -e "$DIR/due" ] || return 0
	if [ -z "$SCHEDULE_EVERY" ]; then
		has_come
		return
	fi
	now
	[ -z "$BEGAN" ] || [ $((REPLY - BEGAN)) -ge "$SCHEDULE_EVERY" ]
}

# Waits until a run is due, or the service has to stop.
wait_for_time() {
	local left
	set_state scheduled
	set_health scheduled
	until [ "$STOPPING" = 1 ] || is_time; do
		if [ -n "$SCHEDULE_EVERY" ]; then
			now
			left=$((SCHEDULE_EVERY + BEGAN - REPLY))
			[ "$left" -le 3600 ] || left=3600
		else
			left=$((60 - $(date +%s) % 60))
		fi
		nap "$left"
	done
	[ "$STOPPING" = 0 ] || return 0
	now
	BEGAN=$REPLY
	# The minutes of the run itself are not made up for.
	CHECKED=
	rm -f "$DIR/exit"
	set_state waiting
	rm -f "$DIR/due"
}

# Has a run taken longer than `timeout:`? For a service that stays up it means nothing.
is_overdue() {
	[ "$TIMEOUT" -gt 0 ] && is_scheduled || return 1
	now
	[ $((REPLY - STARTED)) -ge "$TIMEOUT" ]
}
