"""The agent on the Pi for `piimage deploy` and related commands; needs only Python 3.11 or newer.

It avoids modules that are slow to import (dataclasses, pathlib, typing), because a login on a Pi
Zero must not take seconds.
"""

VERSION = "1"
PROTOCOLS = (1, 1)
"""The oldest and the newest protocol that this agent speaks."""

FEATURES = (
    "backup-1", "devices", "exec", "folders", "gc", "logs", "logs-age", "logs-since", "logs-until",
    "put-resume", "put-zlib", "rehearse", "report-1", "rollback", "schedule-1", "secrets-1",
    "switch", "system-1", "system-folders-1", "watch",
)  # fmt: skip
