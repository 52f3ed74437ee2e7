"""`piimage stop`."""

from __future__ import annotations

from piimage.cli.control import controlling

EXAMPLE = "Example: piimage stop greenhouse.local hello_world"

stop = controlling("stop", "Stop a service on Pis until `start` or the next boot.")
