"""A started guest; a shell stands for it."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

import pytest
from chipmodels.testing.engine import Boot
from chipmodels.testing.machine import Machine


class Shell:
    """An engine whose guest prints a line and hangs."""

    title = "a shell"

    def command(self, boot: Boot) -> list[str]:
        return ["sh", "-c", "echo hanging now; exec sleep 600"]

    def environment(self) -> Mapping[str, str]:
        return {}


@pytest.mark.timeout(60)
def test_the_console_of_a_guest_that_hangs_is_shown_at_once(tmp_path: Path) -> None:
    ours, theirs = os.pipe()
    with open(ours, "rb") as shown, open(theirs, "w") as echo:  # noqa: PTH123  # descriptors
        machine = Machine(Shell(), tmp_path, tmp_path / "init", 64, echo=echo)
        try:
            assert shown.readline() == b"hanging now\n"
        finally:
            machine.close()
