"""What is asked of containerd: to start a task and to delete it.

The messages are those of containerd's API, api/services/{containers,tasks}/v1/*.proto; its client
`ctr` makes the same calls.
"""

from piimage_task.http2 import CallError, Connection
from piimage_task.protobuf import integer, integers, message, text

_CONTAINERS = "/containerd.services.containers.v1.Containers/"
_TASKS = "/containerd.services.tasks.v1.Tasks/"
_SPEC = "types.containerd.io/opencontainers/runtime-spec/1/Spec"
_RUNTIME = "io.containerd.runc.v2"
_NOT_FOUND = 5
_SIGKILL = 9


class ShimGoneError(Exception):
    """The task whose shim was to serve another one has ended."""


def run(connection: Connection, name: str, spec: bytes, output: str, beside: str = "") -> int:
    """Start the container `name` by `spec`, a config.json; return the number of its first process.

    The shim writes what the task prints to `output`, a pipe of the file system. The shim that
    serves the task `beside` serves this one too; without it containerd runs its program to find or
    to start one.

    Raises ShimGoneError if there is no task `beside`: nothing is left of this one then.
    """
    runtime = text(1, _RUNTIME)
    container = text(1, name) + message(4, runtime) + message(5, text(1, _SPEC) + message(2, spec))
    if beside:
        container += text(11, beside)  # containerd calls it the container's sandbox
    connection.call(_CONTAINERS + "Create", message(1, container))
    try:
        connection.call(_TASKS + "Create", text(1, name) + text(5, output) + text(6, output))
    except CallError as error:
        if beside and "sandbox" in error.message:
            connection.call(_CONTAINERS + "Delete", text(1, name))
            raise ShimGoneError(error.message) from None
        raise
    return integers(connection.call(_TASKS + "Start", text(1, name)))[1]


def delete(connection: Connection, name: str) -> int | None:
    """Delete the container `name`, and its task, which is killed if it still runs.

    Returns the exit code of the task; None if there is none, or if its shim has died.
    """
    code = _delete_task(connection, name)
    _unless_missing(connection, _CONTAINERS + "Delete", text(1, name))
    return code


def _delete_task(connection: Connection, name: str) -> int | None:
    try:
        answer = _unless_missing(connection, _TASKS + "Delete", text(1, name))
    except CallError:  # it runs, or its shim has died and it is gone by now
        kill = text(1, name) + integer(3, _SIGKILL) + integer(4, 1)
        _unless_missing(connection, _TASKS + "Kill", kill)
        _unless_missing(connection, _TASKS + "Wait", text(1, name))
        answer = _unless_missing(connection, _TASKS + "Delete", text(1, name))
    return None if answer is None else integers(answer).get(3, 0)


def _unless_missing(connection: Connection, method: str, request: bytes) -> bytes | None:
    """Call a method; return None if what it is about does not exist."""
    try:
        return connection.call(method, request)
    except CallError as error:
        if error.code != _NOT_FOUND:
            raise
        return None
