"""What boot loaders other than a Pi's are asked, and what is refused if they cannot be told."""

from __future__ import annotations

from pathlib import Path

import pytest

from piimage.deploy import system
from piimage.errors import PiimageError
from piimage.run import Runner
from tests.programs.deploy.efi_stand import EfiStand
from tests.programs.deploy.uboot_stand import UBootStand
from tests.unit.deploy.stand_in import fake_ssh


@pytest.fixture(params=[EfiStand, UBootStand])
def stand(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> EfiStand:
    monkeypatch.setattr(system, "_PAUSE_S", 0.2)
    monkeypatch.setattr(system, "_RESTART_S", 10.0)
    monkeypatch.setattr(system, "_MARGIN_S", 10.0)
    found: EfiStand = request.param(tmp_path)
    return found


@pytest.fixture
def tool(stand: EfiStand) -> Runner:
    return fake_ssh(stand.folder / "bin", {"pi": stand.command})


def test_whoever_asks_what_runs_does_not_wear_the_flash_of_the_firmware(
    stand: EfiStand, tool: Runner
) -> None:
    stand.deploy(tool)
    assert stand.state == "kept"
    assert stand.requests.count("probe") == 1
    assert stand.requests[0] == "check"


@pytest.mark.provokes("deploy.needs-flash")
def test_a_machine_without_variables_is_refused_before_anything_is_sent(
    stand: EfiStand, tool: Runner
) -> None:
    stand.pi.write("refuses-check", "this machine's firmware has no variables\n")
    before = stand.slot(1)
    with pytest.raises(
        PiimageError, match="cannot try another: this machine's firmware has no"
    ) as (caught):
        stand.deploy(tool)
    assert caught.value.code == "deploy.needs-flash"
    assert "what a machine with UEFI or U-Boot needs" in str(caught.value.hint)
    assert stand.slot(1) == before
    assert "probe" not in stand.requests


def test_a_firmware_that_does_not_keep_a_variable_is_refused_before_anything_is_written(
    stand: EfiStand, tool: Runner
) -> None:
    stand.pi.write("refuses-probe", "this machine's firmware does not keep a variable\n")
    before = stand.slot(1)
    reason = "cannot be told to try another version: this machine's"
    with pytest.raises(PiimageError, match=reason) as caught:
        stand.deploy(tool)
    assert caught.value.code == "deploy.refused"
    assert stand.slot(1) == before


@pytest.mark.provokes("deploy.boot-firmware")
@pytest.mark.parametrize("stand", [EfiStand], indirect=True)
def test_another_systemd_boot_is_refused(stand: EfiStand, tool: Runner) -> None:
    loader = stand.pi.root / "EFI/BOOT/BOOTAA64.EFI"
    loader.write_bytes(b"MZ an older one")
    before = stand.slot(1)
    with pytest.raises(PiimageError, match="both slots of this card share: BOOTAA64") as caught:
        stand.deploy(tool)
    assert caught.value.code == "deploy.boot-firmware"
    assert stand.slot(1) == before
