"""Asking sudo or udisks2 for one device, once; nothing else runs as root."""

from __future__ import annotations

import os
import socket
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

from piimage.errors import DeviceRefused, MissingTool
from piimage.flash import opener
from piimage.flash.medium import not_opened
from piimage.launch import python_file
from piimage.run import Runner

_MESSAGE: Final = 4096
_TERMINAL: Final = 2  # sudo asks, and complains, where the user looks


def open_by_sudo(runner: Runner, path: str) -> int:
    """Return a descriptor of the device `path` that sudo opened, asking for the user's password.

    Raises DeviceRefused ``flash.no-permission`` when sudo is not there or does not allow it, else
    what opening it raises.
    """
    here, there = socket.socketpair()
    words = ["sudo", "--", *python_file(Path(opener.__file__), path)]
    with here, there:
        try:
            with runner.start(
                words, stdin=there.fileno(), stdout=subprocess.DEVNULL, stderr=_TERMINAL
            ) as process:
                there.close()
                said, descriptors, _, _ = socket.recv_fds(here, _MESSAGE, 1)
                process.wait()
        except MissingTool as error:
            raise _denied(path) from error
    if descriptors:
        return descriptors[0]
    if not said:
        raise _denied(path)
    number = int(said)
    raise not_opened(path, OSError(number, os.strerror(number)))


def _denied(path: str) -> DeviceRefused:
    return DeviceRefused(
        "flash.no-permission",
        "you may not write to it, and sudo did not open it",
        place=path,
        hint="run the command as root, or have an administrator give you the device",
    )


def open_one_way(ways: Sequence[Callable[[str], int]], path: str) -> int:
    """Return what the first of `ways` that is allowed to opens.

    Raises DeviceRefused: ``flash.no-permission`` when none is, else what a way says of the device.
    """
    for way in ways[:-1]:
        try:
            return way(path)
        except DeviceRefused as error:
            if error.code != "flash.no-permission":
                raise
    return ways[-1](path)
