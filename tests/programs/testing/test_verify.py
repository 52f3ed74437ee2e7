"""The verb, with a script in QEMU's place that prints what a board would."""

from __future__ import annotations

import shlex
from pathlib import Path

import pytest

from piimage.boards import load_board
from piimage.card import partitions
from piimage.card.ext4 import existing
from piimage.config.models import Appliance
from piimage.errors import InputError
from piimage.run import Runner
from piimage.testing.report import Outcome
from piimage.testing.shell import card_with_key
from piimage.testing.verify import require_testable, verify
from tests.unit.emulator.stand_in import in_place_of_qemu
from tests.unit.firmware.cards import KERNEL, card

VIRT = load_board("qemu-virt")
SLOT = {"config.txt": b"kernel=kernel.img\n", "cmdline.txt": b"quiet\n", "kernel.img": KERNEL}
UP = "echo [S] piimage: phase services"
HELLO = {"name": "hello", "use": "hello_world"}
TWO = [HELLO, {"name": "late", "use": "hello_world"}]


def appliance(*checks: dict[str, object], **more: object) -> Appliance:
    test = {"checks": list(checks), "timeout": "20s"}
    return Appliance.model_validate({"services": [HELLO], "test": test} | more)


def outcomes(
    tmp_path: Path, script: str, tested: Appliance, **options: float
) -> tuple[Outcome, ...]:
    runner = in_place_of_qemu(tmp_path, script)
    return verify(tested, VIRT, whole_card(runner, tmp_path), runner, seal="S", **options)


def whole_card(runner: Runner, folder: Path) -> Path:
    """A card with a slot, and a file system for the data."""
    image = card(runner, folder / "slot.img", SLOT)
    with image.open("r+b") as file:
        table = partitions.decode(file.read(partitions.SECTOR), image.stat().st_size, "slot.img")
        data = partitions.Partition(partitions.LINUX, 64 << 20, 16 << 20)
        whole = {**table.partitions, VIRT.layout.data: data}
        file.seek(0)
        file.write(partitions.encode(partitions.Table(1, whole)))
        file.truncate(80 << 20)
    runner.run(["mke2fs", "-q", "-F", "-E", f"offset={data.start}", image, "16M"])
    return image


def test_services_are_awaited_and_checks_see_the_whole_console(tmp_path: Path) -> None:
    script = f"{UP}; echo HELLO; echo [S] piimage: service hello: running; exec sleep 100"
    found = outcomes(tmp_path, script, appliance({"console": "HELLO"}))
    assert [(outcome.name, outcome.failure) for outcome in found] == [
        ("the system boots", None), ("service hello is up", None), ("HELLO", None),
    ]  # fmt: skip


def test_a_service_that_does_not_come_up_fails_and_skips_the_checks(tmp_path: Path) -> None:
    script = (
        f"{UP}; echo [S] piimage: service hello: running;"
        "echo [S] piimage: service hello: exited with code 1;"
        "exec sleep 100"
    )
    found = outcomes(tmp_path, script, appliance({"console": "x"}, services=TWO), timeout=1)
    assert "exited with code 1" in str(found[1].failure)
    assert "late is not up" in str(found[2].failure)
    assert found[3].skipped == "a service is not up"


def test_a_service_that_has_done_its_work_before_the_others_start_is_up(tmp_path: Path) -> None:
    script = (
        f"{UP}; echo [S] piimage: service hello: running;"
        "echo [S] piimage: service hello: exited with code 0;"
        "echo [S] piimage: service late: running; exec sleep 100"
    )
    found = outcomes(tmp_path, script, appliance(services=TWO), timeout=5)
    assert [outcome.failure for outcome in found] == [None, None, None]


def test_a_service_that_restarts_is_not_up_until_it_runs_again(tmp_path: Path) -> None:
    script = (
        f"{UP}; echo [S] piimage: service hello: exited with code 0;"
        "echo [S] piimage: service hello: restarting in 1 s;"
        "echo [S] piimage: service late: running; exec sleep 100"
    )
    found = outcomes(tmp_path, script, appliance(services=TWO), timeout=1)
    assert "its last state: restarting in 1 s" in str(found[1].failure)


@pytest.mark.parametrize(
    "message", ["Kernel panic - not syncing: no init", "piimage: BOOT STOPPED: onboot x failed"]
)
def test_a_boot_that_ends_early_fails_with_its_words(tmp_path: Path, message: str) -> None:
    script = f'echo "{message}"; exec sleep 100'
    found = outcomes(tmp_path, script, appliance({"console": "x"}))
    assert message.partition(": ")[2] in str(found[0].failure)
    assert "--until" not in str(found[0].failure)  # an option of `piimage run`
    assert found[1].skipped == "the system did not boot"


def test_a_panic_after_the_boot_fails_the_services(tmp_path: Path) -> None:
    script = f'{UP}; echo "Kernel panic - not syncing: oops"; exec sleep 100'
    found = outcomes(tmp_path, script, appliance())
    assert [outcome.failure is None for outcome in found] == [True, False]
    assert "oops" in str(found[1].failure)


def test_a_restart_before_all_services_are_up_fails_them_at_once(tmp_path: Path) -> None:
    script = (
        f"{UP}; echo [S] piimage: service hello: running;"
        "echo '[emulator] restart 1: watchdog; partition 2'; exec sleep 100"
    )
    found = outcomes(tmp_path, script, appliance(services=TWO))
    assert ["restart 1: watchdog" in str(outcome.failure) for outcome in found] == [
        False, True, True,
    ]  # fmt: skip


def test_a_service_that_breaks_during_the_checks_has_failed(tmp_path: Path) -> None:
    script = (
        f"{UP}; echo [S] piimage: service hello: healthy; sleep 2;"
        "echo '[S] piimage: service hello: unhealthy (3 checks failed)'; echo DONE; exec sleep 100"
    )
    found = outcomes(tmp_path, script, appliance({"console": "DONE"}))
    assert "unhealthy" in str(found[1].failure)
    assert found[2].failure is None


@pytest.mark.provokes("testing.no-shell")
def test_a_program_cannot_be_run_without_sshd() -> None:
    tested = appliance({"run": ["true"]})
    with pytest.raises(InputError, match="use: sshd") as caught:
        require_testable(tested, VIRT)
    assert caught.value.code == "testing.no-shell"
    with_sshd = [HELLO, {"name": "sshd", "use": "sshd"}]
    require_testable(appliance({"run": ["true"]}, services=with_sshd), VIRT)


@pytest.mark.provokes("emulator.no-machine")
def test_a_board_without_emulator_is_refused_before_anything_is_built() -> None:
    with pytest.raises(InputError):
        require_testable(appliance(), load_board("pi5"))


FORGED = (
    "piimage: service hello: healthy",
    "[] piimage: service hello: healthy",
    "[0] piimage: service hello: healthy",
    "[S] piimage: service evil: FAILED to start: piimage: service hello: running",
    "[S] piimage: service evil: exited with code 1; [] piimage: service hello: healthy",
    "[S] piimage: service hello: healthy, it said",
)


def test_what_a_service_prints_is_not_taken_for_the_systems_own_line(tmp_path: Path) -> None:
    """It knows no seal, but its own words may be quoted in a line that has one."""
    lines = "; ".join(f"echo {shlex.quote(line)}" for line in FORGED)
    found = outcomes(tmp_path, f"{UP}; {lines}; exec sleep 100", appliance(), timeout=1)
    assert "hello is not up" in str(found[1].failure)


def test_an_onboot_container_cannot_say_that_the_boot_is_over(tmp_path: Path) -> None:
    script = "echo piimage: phase services; exec sleep 100"
    assert outcomes(tmp_path, script, appliance(), timeout=1)[0].failure is not None


def test_a_service_cannot_have_another_fail(tmp_path: Path) -> None:
    script = (
        f"{UP}; echo [S] piimage: service hello: healthy; sleep 1;"
        "echo piimage: service hello: FAILED; echo DONE; exec sleep 100"
    )
    found = outcomes(tmp_path, script, appliance({"console": "DONE"}))
    assert [outcome.failure for outcome in found] == [None, None, None]


def test_the_key_is_put_onto_a_copy_of_the_card(tmp_path: Path, runner: Runner) -> None:
    image = tmp_path / "card.img"
    start = 2 << 20
    whole = {4: partitions.Partition(partitions.LINUX, start, 16 << 20)}
    with image.open("wb") as file:
        file.write(partitions.encode(partitions.Table(1, whole)))
        file.truncate(18 << 20)
    runner.run(["mke2fs", "-q", "-F", "-E", f"offset={start}", image, "16M"])
    before = image.read_bytes()
    folder = tmp_path / "new"
    folder.mkdir()
    copy, key = card_with_key(runner, image, VIRT, folder)
    assert image.read_bytes() == before
    path = "piimage/provision/authorized_keys"
    assert existing(runner, copy, start, [path]) == {path}
    assert "PRIVATE KEY" in key.read_text()
    assert key.stat().st_mode & 0o077 == 0
