"""What this machine is for guests: its processor, and the engines that start on it.

Tests of guests run in each of these engines, so none is skipped and none fails for a processor.
"""

from __future__ import annotations

import platform
from functools import cache
from pathlib import Path

import pytest
from chipmodels.testing.engines import starting
from chipmodels.testing.guest_loop import GuestLoop


@cache
def engines() -> tuple[str, ...]:
    """The engines that start here. Asked for on the host alone: a guest would try them as well."""
    found = tuple(starting())
    assert found, "no engine for a guest starts here: scripts/setup-host.sh installs them"
    return found


def in_guest(config: pytest.Config) -> bool:
    """Whether this pytest is the one that runs tests in a guest."""
    return any(isinstance(plugin, GuestLoop) for plugin in config.pluginmanager.get_plugins())


def processor() -> str:
    """The processor's name, and whether it has AMX, on which user-mode Linux 6.1 does not start."""
    lines = Path("/proc/cpuinfo").read_text().partition("\n\n")[0].splitlines()
    fields = {
        key.strip(): value.strip() for key, _, value in (line.partition(":") for line in lines)
    }
    name = fields.get("model name") or platform.machine()
    amx = "amx_tile" in fields.get("flags", "").split()
    return f"{name}, {'with' if amx else 'without'} AMX"
