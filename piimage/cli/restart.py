"""`piimage restart`."""

from __future__ import annotations

from piimage.cli.control import controlling

EXAMPLE = "Example: piimage restart greenhouse.local hello_world"

restart = controlling("restart", "Stop a service on Pis and start it again; wait until it runs.")
