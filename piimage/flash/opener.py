"""Opens one device for a process that may not, and hands over the descriptor: run by sudo.

Standard input is one end of a socket pair. This is all that ever runs as root, and it needs nothing
but Python's own library, so that no other file has a say in it.
"""

from __future__ import annotations

import os
import socket
import sys
from typing import Final

FLAGS: Final = os.O_RDWR | os.O_EXCL | os.O_CLOEXEC | os.O_DIRECT
"""How a device is opened: past the kernel's cache, and for one process alone."""


def main() -> None:
    """Send the descriptor of the device that is named, or the number of the error."""
    with socket.socket(fileno=0) as channel:
        try:
            descriptor = os.open(sys.argv[1], FLAGS)
        except OSError as error:
            channel.send(str(error.errno).encode())
        else:
            socket.send_fds(channel, [b"open"], [descriptor])


if __name__ == "__main__":
    main()
