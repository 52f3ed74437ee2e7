"""Opens one device through sudo or udisks2; nothing else runs as root."""

from __future__ import annotations

import os
import socket
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

from piimage.errors import DeviceRefused, MissingTool
from piimage.flash import opener
from piimage.flash.medium import open_error
from piimage.launch import python_file
from piimage.run import Runner

_MESSAGE: Final = 4096
_TERMINAL: Final = 2  # sudo prompts and reports errors on standard error


def open_by_sudo(runner: Runner, path: str) -> int:
    """Open the device `path` through sudo, which prompts for the password; return a descriptor.

    Raises DeviceRefused ``flash.no-permission`` if sudo is missing or denies it, and the error of
    `open_error` if the device cannot be opened.
    """
    ours, theirs = socket.socketpair()
    command = ["sudo", "--", *python_file(Path(opener.__file__), path)]
    with ours, theirs:
        try:
            with runner.start(
                command, stdin=theirs.fileno(), stdout=subprocess.DEVNULL, stderr=_TERMINAL
            ) as process:
                theirs.close()
                message, descriptors, _, _ = socket.recv_fds(ours, _MESSAGE, 1)
                process.wait()
        except MissingTool as error:
            raise _denied(path) from error
    if descriptors:
        return descriptors[0]
    if not message:
        raise _denied(path)
    number = int(message)
    raise open_error(path, OSError(number, os.strerror(number)))


def _denied(path: str) -> DeviceRefused:
    return DeviceRefused(
        "flash.no-permission",
        "you may not write to the device, and sudo did not open it",
        place=path,
        hint="run the command as root, or ask an administrator for access to the device",
    )


def open_by_first_allowed(openers: Sequence[Callable[[str], int]], path: str) -> int:
    """Return the descriptor of the first of `openers` that has permission to open `path`.

    Raises DeviceRefused ``flash.no-permission`` if none has, and any other error of an opener.
    """
    for open_device in openers[:-1]:
        try:
            return open_device(path)
        except DeviceRefused as error:
            if error.code != "flash.no-permission":
                raise
    return openers[-1](path)
