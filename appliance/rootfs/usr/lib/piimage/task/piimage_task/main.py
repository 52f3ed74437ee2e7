"""The command: starts or deletes a task of containerd."""

import os

from piimage_task import containerd, leader, processes, turns
from piimage_task.containerd import ShimGoneError
from piimage_task.http2 import CallError, Connection

SOCKET = "/run/containerd/containerd.sock"
FOLDER = "/run/piimage/services"
"""Where the turns and the leader are noted."""
PROCESSORS = "/sys/devices/system/cpu/online"
MEMORY = "/proc/meminfo"
NAMESPACE = "services.linuxkit"
SECONDS = 120
"""How long containerd may take for an answer: a busy Pi Zero is slow."""
AWAY = 3
"""The exit code if nobody listens at the socket."""


def main(arguments: list[str]) -> int:
    """Run NAME CONFIG OUTPUT PIDFILE, or delete NAME; return the exit code.

    Waits until it is this one's turn. `delete` prints the exit code of the task, if there was one.
    """
    runner = processes.parent("self")
    turn = turns.take(FOLDER, turns.count(_first_line(PROCESSORS), _first_line(MEMORY)))
    try:
        # Process 1 has started another runner if this one was killed meanwhile.
        return _ask(arguments) if processes.parent("self") == runner else 1
    finally:
        turn.release()


def _ask(arguments: list[str]) -> int:
    try:
        connection = Connection(SOCKET, NAMESPACE, SECONDS)
    except OSError as error:
        print(f"containerd cannot be reached: {error}")
        return AWAY
    try:
        if arguments[0] == "run":
            _run(connection, *arguments[1:])
        else:
            _delete(connection, arguments[1])
    except CallError as error:
        print(error.message)
        return 1
    except (OSError, ValueError, LookupError) as error:
        print(f"containerd did not answer: {error}")
        return 1
    finally:
        connection.close()
    return 0


def _run(connection: Connection, name: str, config: str, output: str, pid_file: str) -> None:
    with open(config, "rb") as file:
        spec = file.read()
    pid = _started(connection, name, spec, output)
    draft = f"{pid_file}.new"
    with open(draft, "w") as file:
        file.write(str(pid))
    os.rename(draft, pid_file)


def _started(connection: Connection, name: str, spec: bytes, output: str) -> int:
    """Start the task, and return its first process.

    The shim of a task that runs serves it too, without a program in Go that would look for this
    shim. If there is none, starts go one after another: of two shims that begin at once the second
    one takes the first one's socket, and a containerd that starts again would find the tasks of the
    first no more.
    """
    pid = _beside_leader(connection, name, spec, output)
    if pid is not None:
        return pid
    first = leader.lock(FOLDER)
    first.take()
    try:
        if leader.find(FOLDER) is None:  # of those who waited for the lock, this is the first
            pid = containerd.run(connection, name, spec, output)
            leader.note(FOLDER, pid, name)
            return pid
    finally:
        first.release()
    return _started(connection, name, spec, output)


def _beside_leader(connection: Connection, name: str, spec: bytes, output: str) -> int | None:
    """Start the task with the shim of the leader; None if there is none."""
    beside = leader.find(FOLDER)
    if beside is None:
        return None
    try:
        return containerd.run(connection, name, spec, output, beside)
    except ShimGoneError:
        leader.forget(FOLDER, beside)
        return None


def _delete(connection: Connection, name: str) -> None:
    leader.forget(FOLDER, name)
    code = containerd.delete(connection, name)
    print("" if code is None else code)


def _first_line(path: str) -> str:
    with open(path) as file:
        return file.readline()
