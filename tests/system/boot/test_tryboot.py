"""The boot loader tries the other slot once: module, process 1, kernel and emulator together."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from piimage.emulator.session import Options, boot
from piimage.firmware.manifest import board_of
from piimage.run import Runner
from piimage.testing.shell import Shell, card_with_key
from tests.system.boot.conftest import PATIENCE, Command, Pi
from tests.system.boot.slots import with_two_slots

FLAG = "/sys/module/tryboot/parameters/next"
TRY_BOOT = "(sleep 1; /usr/lib/piimage/try-boot) </dev/null >/dev/null 2>&1 &"


@contextmanager
def machine(piimage: Command, appliances: Path, folder: Path, board_name: str) -> Iterator[Pi]:
    """A board with the same system in both slots, up."""
    text = (appliances / "updates.yml").read_text()
    file = appliances / f"updates-{board_name}.yml"
    file.write_text(text.replace("board: qemu-virt", f"board: {board_name}"))
    done = piimage(["build", file, "-o", "out"])
    assert done.returncode == 0, done.stderr
    image, runner = appliances / "out" / f"{file.stem}.img", Runner()
    board = board_of(image)
    card, key = card_with_key(runner, image, board, folder)
    both = with_two_slots(runner, card, folder / "both.img")
    with boot(both, board, runner, Options(ssh_port=0)) as session:
        assert session.ssh_port is not None
        pi = Pi(session, board, Shell(runner, key, session.ssh_port))
        up(pi)
        yield pi


@pytest.fixture(scope="module")
def pi(
    piimage: Command, appliances: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Pi]:
    with machine(piimage, appliances, tmp_path_factory.mktemp("tryboot"), "qemu-virt") as virt:
        yield virt


def up(pi: Pi) -> None:
    pi.session.wait_for("piimage: service sshd: running", PATIENCE)
    pi.shell.wait(PATIENCE)


def booted(pi: Pi) -> list[str]:
    """Return the booted partition and whether it is tried: of the facts, and of the device tree."""
    facts = pi.say(". /run/piimage/boot; echo $PIIMAGE_SLOT_PARTITION $PIIMAGE_TRYBOOT").split()
    node = "/proc/device-tree/chosen/bootloader"
    cells = pi.say(f"hexdump -v -e '1/1 \"%u\"' {node}/partition {node}/tryboot")
    assert cells == f"000{facts[0]}000{facts[1]}"
    return facts


def try_once(pi: Pi) -> None:
    """Try the other slot, then restart."""
    assert booted(pi) == ["2", "0"]
    assert pi.say(f"cat {FLAG}") == "0\n"
    pi.say("echo kept >/data/kept")
    pi.say(TRY_BOOT)
    tried = pi.session.wait_restart(PATIENCE)
    assert (tried.cause, tried.partition, tried.tryboot) == ("restart", 3, True)
    up(pi)
    assert booted(pi) == ["3", "1"]
    assert pi.say(f"cat {FLAG}") == "0\n"
    assert pi.say("cat /data/kept") == "kept\n"
    assert "recovery" not in pi.say("dmesg | grep EXT4-fs")
    pi.say("(sleep 1; initctl reboot) </dev/null >/dev/null 2>&1 &")
    back = pi.session.wait_restart(PATIENCE)
    assert (back.cause, back.partition, back.tryboot) == ("restart", 2, False)
    up(pi)
    assert booted(pi) == ["2", "0"]


def test_a_pi_4_tries_the_other_slot_once(
    piimage: Command, appliances: Path, tmp_path: Path
) -> None:
    """Updates of a system do so on virt: tests/system/deploy/test_system_update.py."""
    with machine(piimage, appliances, tmp_path, "pi4") as pi4:
        try_once(pi4)


@pytest.mark.parametrize(
    ("ending", "cause"),
    [("kill -STOP $(pidof watchdogd)", "watchdog"), ("echo c >/proc/sysrq-trigger", "panic")],
)
def test_a_board_that_hangs_or_panics_starts_again(pi: Pi, ending: str, cause: str) -> None:
    number = len(pi.session.restarts)
    pi.say(f"(sleep 1; {ending}) </dev/null >/dev/null 2>&1 &")
    restart = pi.session.wait_restart(PATIENCE)
    assert (restart.cause, restart.partition, restart.tryboot) == (cause, 2, False)
    assert len(pi.session.restarts) == number + 1
    up(pi)
