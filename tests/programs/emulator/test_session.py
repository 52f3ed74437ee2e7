from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from piimage import events
from piimage.boards import load_board
from piimage.emulator import qemu
from piimage.emulator.ports import Forward, free_port
from piimage.emulator.session import Options, boot, reboot
from piimage.errors import MissingTool, PiimageError
from piimage.run import Runner
from tests.unit.emulator.conftest import Stand
from tests.unit.firmware.cards import KERNEL, card

VIRT = load_board("qemu-virt")
SLOT = {
    "config.txt": b"kernel=kernel.img\nwhat is this\n",
    "cmdline.txt": b"quiet\n",
    "kernel.img": KERNEL,
}


@pytest.fixture
def image(tmp_path: Path) -> Path:
    return card(Runner(), tmp_path / "card.img", SLOT)


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def test_a_text_is_awaited_and_the_machine_always_ends(stand_in: Stand, image: Path) -> None:
    heard: list[bytes] = []
    runner = stand_in("echo one; echo HELLO world; exec sleep 100")
    with boot(image, VIRT, runner, listen=heard.append) as session:
        assert session.wait_for("HELLO", 20) == "HELLO"
        assert session.cpu_seconds() >= 0
        assert alive(session.pid)
    assert not alive(session.pid)
    assert b"".join(heard) == b"one\nHELLO world\n"
    assert [line.text for line in session.lines()] == ["one", "HELLO world"]
    session.send("too late")


def test_an_exception_ends_the_machine_too(stand_in: Stand, image: Path) -> None:
    runner = stand_in("trap '' TERM; echo up; while :; do sleep 0.1; done")
    with pytest.raises(KeyboardInterrupt), boot(image, VIRT, runner) as session:
        session.wait_for("up", 20)
        raise KeyboardInterrupt
    assert not alive(session.pid)


def test_what_is_typed_reaches_the_machine(stand_in: Stand, image: Path) -> None:
    with boot(image, VIRT, stand_in("read line; echo got $line; exec sleep 100")) as session:
        session.send("this\n")
        session.wait_for("got this", 20)


@pytest.mark.provokes("emulator.timeout")
def test_a_text_that_does_not_come_is_an_error_with_the_last_lines(
    stand_in: Stand, image: Path
) -> None:
    runner = stand_in("echo the last line; exec sleep 100")
    with boot(image, VIRT, runner) as session:
        session.wait_for("the last", 20)
        began = time.monotonic()
        with pytest.raises(PiimageError, match="the last line") as caught:
            session.wait_for("HELLO", 0.2)
    assert time.monotonic() - began < 10
    assert caught.value.code == "emulator.timeout"


@pytest.mark.provokes("emulator.ended")
def test_a_machine_that_ends_early_says_what_qemu_said(stand_in: Stand, image: Path) -> None:
    runner = stand_in("echo on the console; echo no such device >&2; exit 1")
    with boot(image, VIRT, runner) as session, pytest.raises(PiimageError) as caught:
        session.wait_for("HELLO", 20)
    assert caught.value.code == "emulator.ended"
    assert "on the console" in str(caught.value)
    assert "no such device" in str(caught.value)


@pytest.mark.provokes("emulator.boot-failed")
@pytest.mark.parametrize(
    "message", ["BOOT FAILED: no layers/", "BOOT STOPPED: onboot x is required"]
)
def test_a_boot_that_gives_up_ends_the_wait_at_once(
    stand_in: Stand, image: Path, message: str
) -> None:
    runner = stand_in(f"echo 'piimage: {message}'; exec sleep 100")
    with boot(image, VIRT, runner) as session, pytest.raises(PiimageError) as caught:
        session.wait_for("HELLO", 60)
    assert caught.value.code == "emulator.boot-failed"
    assert message in str(caught.value)


def test_a_boot_that_gives_up_can_be_what_is_awaited(stand_in: Stand, image: Path) -> None:
    runner = stand_in("printf 'piimage: BOOT '; sleep 0.3; echo 'STOPPED: here'; exec sleep 100")
    with boot(image, VIRT, runner) as session:
        assert session.wait_for("BOOT STOPPED: here", 60) == "BOOT STOPPED: here"


@pytest.mark.provokes("emulator.panic")
def test_a_panic_ends_the_wait_at_once(stand_in: Stand, image: Path) -> None:
    runner = stand_in('echo "[1.0] Kernel panic - not syncing: no init"; exec sleep 100')
    with boot(image, VIRT, runner) as session, pytest.raises(PiimageError) as caught:
        session.wait_for("HELLO", 60)
    assert caught.value.code == "emulator.panic"


@pytest.mark.parametrize(
    "script",
    [
        'echo "reboot: Power down"; exec sleep 100',
        'echo "reboot: Power off not available: System halted instead"; exec sleep 100',
        "exit 0",
    ],
)
def test_the_end_is_seen(stand_in: Stand, image: Path, script: str) -> None:
    with boot(image, VIRT, stand_in(script)) as session:
        session.wait_end(20)
        assert session.restarts == ()


def test_an_end_that_does_not_come_is_an_error(stand_in: Stand, image: Path) -> None:
    runner = stand_in('echo "reboot: Restarting system"; exec sleep 100')
    with boot(image, VIRT, runner) as session, pytest.raises(PiimageError) as caught:
        session.wait_end(0.3)
    assert caught.value.code == "emulator.timeout"


def test_a_reboot_finds_what_was_written(stand_in: Stand, image: Path) -> None:
    runner = stand_in('echo "$@"; exec sleep 100')
    with boot(image, VIRT, runner, Options(cpus=3, ssh_port=0)) as first:
        first.wait_for("-chardev", 20)
        with reboot(first, VIRT, runner) as again:
            assert not alive(first.pid)
            again.wait_for("-chardev", 20)
            assert again.machine.drive == first.machine.drive
            assert again.machine.cpus == 3
            assert again.ssh_port == first.ssh_port


def test_the_ssh_port_is_chosen_or_given(stand_in: Stand, image: Path) -> None:
    runner, web = stand_in("exec sleep 100"), Forward(free_port(), 80)
    with boot(image, VIRT, runner, Options(ssh_port=0, forwards=(web,))) as session:
        assert session.ssh_port is not None
        assert session.ssh_port > 1023
        assert web in session.machine.forwards
    with boot(image, VIRT, runner) as session:
        assert session.ssh_port is None


def test_what_the_firmware_passes_over_is_a_warning(stand_in: Stand, image: Path) -> None:
    seen: list[events.Event] = []
    base = stand_in("exec sleep 100")
    with boot(image, VIRT, Runner(seen.append, base.environment)):
        pass
    assert any(isinstance(e, events.Warning) and "not understood" in e.text for e in seen)


@pytest.mark.provokes("emulator.old-qemu")
@pytest.mark.parametrize("version", ["8.2.4", "7.2", "nonsense"])
def test_an_old_qemu_is_refused(
    stand_in: Callable[[str, str], Runner], image: Path, version: str
) -> None:
    runner = stand_in("exit 1", version)
    with pytest.raises(MissingTool, match=r"boards need 9\.0") as caught, boot(image, VIRT, runner):
        pass
    assert caught.value.code == "emulator.old-qemu"


@pytest.mark.parametrize(
    ("release", "remedy"),
    [
        ("ID=debian\nVERSION_ID=12\n", "apt-get install -t bookworm-backports"),
        # QEMU there is 8.2, and there are no backports of it.
        ("ID=ubuntu\nID_LIKE=debian\nVERSION_ID=24.04\n", "container image"),
        ("ID=fedora\nVERSION_ID=40\n", "container image"),
    ],
)
def test_an_old_qemu_has_a_remedy_that_its_host_has(
    tmp_path: Path, release: str, remedy: str
) -> None:
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc/os-release").write_text(release)
    assert remedy in qemu.upgrade_hint(tmp_path)


def test_versions_are_read() -> None:
    assert qemu.version_of("QEMU emulator version 10.0.2 (Debian 1:10.0.2)") == (10, 0)
    assert qemu.version_of("QEMU emulator version 9.2") == (9, 2)
    assert qemu.version_of("") is None
