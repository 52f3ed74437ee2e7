"""Opens one device for a process without permission and sends it the descriptor; run by sudo.

Standard input is one end of a socket pair. Only this file runs as root. It needs only Python's
standard library, so that no other file can change what it does.
"""

from __future__ import annotations

import os
import socket
import sys
from typing import Final

FLAGS: Final = os.O_RDWR | os.O_EXCL | os.O_CLOEXEC | os.O_DIRECT
"""A device is opened without the kernel's cache and exclusively for one process."""


def main() -> None:
    """Send the descriptor of the device that the argument names, or the number of the error."""
    with socket.socket(fileno=0) as channel:
        try:
            descriptor = os.open(sys.argv[1], FLAGS)
        except OSError as error:
            channel.send(str(error.errno).encode())
        else:
            socket.send_fds(channel, [b"open"], [descriptor])


if __name__ == "__main__":
    main()
