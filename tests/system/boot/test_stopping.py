"""An onboot container that the boot cannot do without."""

from __future__ import annotations

from tests.system.boot.conftest import Command


def test_a_required_onboot_that_fails_stops_the_boot_and_says_so(piimage: Command) -> None:
    done = piimage(["run", "stopping.yml", "--until", "HELLO", "--timeout", "600"])
    assert done.returncode == 1, done.stderr
    assert "piimage: onboot 000-fine: done" in done.stdout
    assert "piimage: onboot 001-optional: FAILED: failed with exit code 4" in done.stdout
    assert "BOOT STOPPED: onboot 002-needed is required and failed with exit code 3" in done.stderr
    assert "piimage: phase services" not in done.stdout
    assert "HELLO" not in done.stdout
