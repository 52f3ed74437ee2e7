"""The far side of `piimage deploy` and its relatives; standard library only, Python 3.11 or newer.

It avoids modules that are dear to import (dataclasses, pathlib, typing): on a Pi Zero a login must
not cost seconds.
"""

VERSION = "1"
PROTOCOLS = (1, 1)
"""The oldest and the newest protocol that this agent speaks."""

FEATURES = (
    "devices", "exec", "folders", "gc", "logs", "logs-age", "logs-since", "put-resume", "put-zlib",
    "rehearse", "report-1", "rollback", "switch", "watch",
)  # fmt: skip
