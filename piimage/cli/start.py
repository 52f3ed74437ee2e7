"""`piimage start`."""

from __future__ import annotations

from piimage.cli.control import controlling

EXAMPLE = "Example: piimage start greenhouse.local hello_world"

start = controlling("start", "Start a stopped service on Pis; wait until it runs.")
