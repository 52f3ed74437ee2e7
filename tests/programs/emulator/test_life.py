"""A board that is reset: why, what is started then, and when that ends."""

from __future__ import annotations

import datetime
import shlex
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from piimage.board import Board
from piimage.boards import load_board
from piimage.emulator.session import Options, boot, reboot
from piimage.errors import PiimageError
from piimage.run import Runner
from tests.unit.emulator.conftest import Stand
from tests.unit.firmware.cards import AUTOBOOT, SLOT, card

VIRT = load_board("qemu-virt")
FAKE = Path(__file__).with_name("fake_qemu.py")
BEFORE_WALKS = datetime.date(2025, 8, 12)
Doing = Callable[..., Runner]


@pytest.fixture
def doing(stand_in: Stand, tmp_path: Path) -> Doing:
    """Give a runner whose QEMU does one of `deeds` at each start."""

    def make(*deeds: str) -> Runner:
        file = tmp_path / "deeds"
        file.write_text("".join(f"{deed}\n" for deed in deeds))
        words = shlex.join([sys.executable, str(FAKE), str(file)])
        return stand_in(f'exec {words} "$@"')

    return make


@pytest.fixture
def image(tmp_path: Path) -> Path:
    """A card with two slots; autoboot.txt names both."""
    return card(Runner(), tmp_path / "card.img", {"autoboot.txt": AUTOBOOT}, SLOT, SLOT)


def test_a_flag_that_was_left_makes_the_next_start_a_try_and_no_other(
    doing: Doing, image: Path
) -> None:
    with boot(image, VIRT, doing("try", "reset", "stay")) as session:
        tried = session.wait_restart(60)
        assert (tried.cause, tried.partition, tried.tryboot) == ("restart", 3, True)
        back = session.wait_restart(60)
        assert (back.cause, back.partition, back.tryboot) == ("restart", 2, False)
        session.wait_for("up: stay", 60)
        assert session.partition == 2
        assert session.restarts == (tried, back)
    texts = [line.text for line in session.lines()]
    assert "[emulator] restart 1: restart; partition 3, as a try" in texts
    assert "[emulator] restart 2: restart; partition 2" in texts


@pytest.mark.parametrize(
    ("deed", "cause"), [("watchdog", "watchdog"), ("panic", "panic"), ("cleared", "restart")]
)
def test_the_causes_of_a_reset_are_told_apart(
    doing: Doing, image: Path, deed: str, cause: str
) -> None:
    with boot(image, VIRT, doing(deed, "reset", "stay")) as session:
        found = session.wait_restart(60)
        assert (found.cause, found.partition, found.tryboot) == (cause, 2, False)
        assert session.wait_restart(60).cause == "restart"  # what was before does not count


def test_a_board_that_is_switched_off_stays_off(doing: Doing, image: Path) -> None:
    with boot(image, VIRT, doing("reset", "off", "stay")) as session:
        session.wait_end(60)
        assert len(session.restarts) == 1


def test_a_text_is_awaited_across_restarts(doing: Doing, image: Path) -> None:
    heard: list[bytes] = []
    with boot(image, VIRT, doing("reset", "reset", "stay"), listen=heard.append) as session:
        session.wait_for("up: stay", 60)
        assert [restart.partition for restart in session.restarts] == [2, 2]
        assert session.cpu_seconds() > 0
    assert b"[emulator] restart 2: restart; partition 2\r\n" in b"".join(heard)


@pytest.mark.provokes("emulator.restarts")
def test_a_reset_loop_has_an_end(doing: Doing, image: Path) -> None:
    runner = doing("reset", "watchdog", "panic", "stay")
    with boot(image, VIRT, runner, Options(restarts=2)) as session:
        with pytest.raises(
            PiimageError, match="restarted 3 times; the last cause: panic"
        ) as caught:
            session.wait_end(60)
        assert caught.value.code == "emulator.restarts"
        with pytest.raises(PiimageError, match="restarted 3 times"):
            session.wait_restart(0.1) and session.wait_restart(0.1) and session.wait_restart(0.1)


def test_a_port_of_ssh_stays_over_restarts(doing: Doing, image: Path) -> None:
    with boot(image, VIRT, doing("reset", "stay"), Options(ssh_port=0)) as session:
        port = session.ssh_port
        session.wait_restart(60)
        session.wait_for("up: stay", 60)
        assert session.ssh_port == port is not None


def half_a_card(tmp_path: Path, board: Board) -> Path:
    """A card whose slot B is empty, as while it is being written."""
    assert board.firmware.chain == "none"
    return card(Runner(), tmp_path / "half.img", {"autoboot.txt": AUTOBOOT}, SLOT, {})


def test_a_present_boot_loader_walks_back_from_a_slot_that_is_not_bootable(
    doing: Doing, tmp_path: Path
) -> None:
    half = half_a_card(tmp_path, VIRT)
    with boot(half, VIRT, doing("try", "stay")) as session:
        restart = session.wait_restart(60)
        assert (restart.partition, restart.tryboot) == (2, True)


@pytest.mark.provokes("emulator.no-start")
def test_an_older_one_starts_nothing_until_the_power_is_cut(doing: Doing, tmp_path: Path) -> None:
    half = half_a_card(tmp_path, VIRT)
    options = Options(eeprom=BEFORE_WALKS)
    with boot(half, VIRT, doing("try", "stay"), options) as session:
        with pytest.raises(
            PiimageError, match="in a try, the boot loader starts nothing"
        ) as caught:
            session.wait_for("up: stay", 60)
        assert caught.value.code == "emulator.no-start"
        with reboot(session, VIRT, doing("stay")) as again:
            again.wait_for("up: stay", 60)
            assert again.partition == 2


def test_phases_are_those_of_the_last_boot(doing: Doing, image: Path) -> None:
    with boot(image, VIRT, doing("reset", "stay")) as session:
        session.wait_for("up: stay", 60)
        assert [phase.name for phase in session.phases()] == ["kernel"]
        assert session.phases()[0].seconds < session.seconds()
    assert replace(session.options, forwards=()) == Options()
