"""The command: starts or deletes a task of containerd."""

import os

from piimage_task import containerd
from piimage_task.containerd import ShimGoneError
from piimage_task.http2 import CallError, Connection

SOCKET = "/run/containerd/containerd.sock"
NAMESPACE = "services.linuxkit"
SECONDS = 120
"""How long containerd may take for an answer: a busy Pi Zero is slow."""
AWAY = 3
"""The exit code if nobody listens at the socket."""
SHIM_GONE = 4
"""The exit code if the shim that was named has ended."""


def main(arguments: list[str]) -> int:
    """Run NAME CONFIG OUTPUT PIDFILE [BESIDE], or delete NAME; return the exit code.

    `delete` prints the exit code of the task, if there was one.
    """
    try:
        connection = Connection(SOCKET, NAMESPACE, SECONDS)
    except OSError as error:
        print(f"containerd cannot be reached: {error}")
        return AWAY
    try:
        if arguments[0] == "run":
            _run(connection, *arguments[1:])
        else:
            code = containerd.delete(connection, arguments[1])
            print("" if code is None else code)
    except ShimGoneError as error:
        print(error)
        return SHIM_GONE
    except CallError as error:
        print(error.message)
        return 1
    except (OSError, ValueError, LookupError) as error:
        print(f"containerd did not answer: {error}")
        return 1
    finally:
        connection.close()
    return 0


def _run(
    connection: Connection, name: str, config: str, output: str, pid_file: str, beside: str = ""
) -> None:
    with open(config, "rb") as file:
        spec = file.read()
    pid = containerd.run(connection, name, spec, output, beside)
    draft = f"{pid_file}.new"
    with open(draft, "w") as file:
        file.write(str(pid))
    os.rename(draft, pid_file)
