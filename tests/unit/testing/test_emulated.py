"""What an emulated board says of a service that does not come up."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import pytest

from piimage.errors import PiimageError
from piimage.run import Completed
from piimage.testing.emulated import Emulated

SESSION: Any = SimpleNamespace(lines=lambda: [SimpleNamespace(text="restarting in 1 s")])
CONSOLE = "the console's last line: restarting in 1 s"


@dataclass
class Login:
    """A shell with one answer."""

    answer: bytes | None
    commands: list[Sequence[str]] = field(default_factory=list)

    def run(self, argv: Sequence[str], timeout: float) -> Completed:
        self.commands.append(argv)
        if self.answer is None:
            raise PiimageError("testing.no-answer", f"nothing within {timeout} s")
        return Completed(0, self.answer, b"")


def test_the_services_own_log_says_why_it_is_not_up() -> None:
    login = Login(b'nginx: mkdir() "/tmp/body" failed\x1b[2J\n')
    words = Emulated(SESSION, "S", login).last_words("web")
    assert words == 'its log ends with: nginx: mkdir() "/tmp/body" failed\\x1b[2J'
    assert login.commands == [["tail", "-n", "1", "/var/log/services/web/log"]]


@pytest.mark.parametrize("login", [None, Login(None), Login(b"")])
def test_without_a_log_the_console_does(login: Login | None) -> None:
    assert Emulated(SESSION, "S", login).last_words("web") == CONSOLE
