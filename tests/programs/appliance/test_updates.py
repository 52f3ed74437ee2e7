"""The loop that calls the update server, with a stand-in for the agent."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from tests.programs.appliance.scripts import Pi


@pytest.fixture
def pi(tmp_path: Path) -> Pi:
    pi = Pi(tmp_path)
    script = pi.install_functions("updates")
    script.write_text(script.read_text().replace("AFTER_AN_ERROR=300", "AFTER_AN_ERROR=1.5"))
    pi.install_library()
    pi.write("dev/console", "")
    return pi


def called(pi: Pi, body: str) -> tuple[str, float]:
    """Call once with an agent that runs `body`; return the console and how long it took."""
    pi.program("piimage-agent", body)
    began = time.monotonic()
    pi.sh(f". {pi.root}/usr/lib/piimage/updates; call")
    return (pi.root / "dev/console").read_text(), time.monotonic() - began


def test_what_the_agent_says_is_on_the_console_and_the_next_call_waits(pi: Pi) -> None:
    console, seconds = called(pi, 'echo "say fetches  version 1.2"; echo "sleep 0.5"')
    assert console == "piimage: updates: fetches  version 1.2\n"
    assert seconds >= 0.5


def test_after_an_agent_that_ends_without_a_word_the_next_call_waits_longer(pi: Pi) -> None:
    console, seconds = called(pi, "echo nonsense; exit 1")
    assert console == ""
    assert seconds >= 1.5


def test_the_agent_is_called_to_poll(pi: Pi) -> None:
    console, _ = called(pi, 'echo "say $*"; echo "sleep 0"')
    assert console == "piimage: updates: poll\n"
