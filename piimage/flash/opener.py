"""Opens one device for a process that may not, and hands over the descriptor: run by sudo.

Standard input is one end of a socket pair. This is all that ever runs as root.
"""

from __future__ import annotations

import socket
import sys

from piimage.errors import DeviceRefused
from piimage.flash.medium import open_device


def main() -> None:
    """Send the descriptor of the device that is named, or the error's code and text."""
    with socket.socket(fileno=0) as channel:
        try:
            descriptor = open_device(sys.argv[1])
        except DeviceRefused as error:
            channel.send(f"{error.code}\0{error.message}\0{error.hint}".encode())
        else:
            socket.send_fds(channel, [b"open"], [descriptor])


if __name__ == "__main__":
    main()
