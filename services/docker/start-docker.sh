#!/bin/sh
# Prepares the control group of this container for those of Docker's containers, and starts Docker.
set -eu
GROUP=/sys/fs/cgroup

# A group has processes or controllers for the groups below it, not both: all move down. A health check
# that begins meanwhile is in the upper group again, so it may take some tries.
move_down() {
	while read -r PROCESS; do
		echo "$PROCESS" >$GROUP/daemon/cgroup.procs
	done <$GROUP/cgroup.procs
}

pass_on() {
	for _ in 1 2 3 4 5 6 7 8 9 10; do
		move_down 2>/dev/null || :
		! echo "+$1" 2>/dev/null >$GROUP/cgroup.subtree_control || return 0
	done
	echo "docker: no limits of $1: the control group is busy" >&2
}

mkdir -p $GROUP/daemon
read -r CONTROLLERS <$GROUP/cgroup.controllers
for CONTROLLER in $CONTROLLERS; do
	pass_on "$CONTROLLER"
done

# Docker would give its containerd 15 s to start, which a busy Pi may not make.
containerd --config /etc/containerd/config.toml --log-level warn &
CONTAINERD=$!
until [ -S /run/containerd/containerd.sock ]; do
	kill -0 $CONTAINERD
	sleep 1
done
# shellcheck disable=SC2086 # options are separated by blanks
dockerd --host unix:///run/docker.sock --containerd /run/containerd/containerd.sock ${DOCKERD_OPTIONS:-} &
DOCKER=$!
# Docker stops its containers first. `wait` also takes leave of processes whose parents have ended.
trap 'kill -TERM $DOCKER' TERM
CODE=0
wait $DOCKER || CODE=$?
while kill -0 $DOCKER 2>/dev/null; do
	CODE=0
	wait $DOCKER || CODE=$?
done
kill -TERM $CONTAINERD
wait $CONTAINERD || :
exit $CODE
