"""A Pi whose slots are folders, and that calls an update server."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from piimage import swu
from tests.programs.deploy.calling_pi import CallingPi, release
from tests.programs.deploy.ddi_server import Ddi, ddi_server
from tests.programs.deploy.folders_stand import FoldersStand
from tests.unit.signing_keys import Pair, pair


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Pair:
    return pair(tmp_path_factory.mktemp("keys"), "ours")


@pytest.fixture
def ddi() -> Iterator[Ddi]:
    with ddi_server() as found:
        yield found


@pytest.fixture
def stand(tmp_path: Path) -> FoldersStand:
    return FoldersStand(tmp_path)


@pytest.fixture
def pi(stand: FoldersStand, keys: Pair, ddi: Ddi) -> CallingPi:
    found = CallingPi(stand, keys)
    found.set_up(ddi.url)
    return found


def test_a_version_is_written_to_the_other_folder_tried_and_kept(
    pi: CallingPi, stand: FoldersStand, ddi: Ddi, tmp_path: Path
) -> None:
    ddi.bundle = pi.system_bundle(tmp_path / "new.swu")
    pi.call()
    assert ddi.attributes["slot"] == "a/"
    pi.call_until(lambda: ddi.bundle is None)
    assert ddi.reports[-1][:2] == ("closed", "success")
    assert stand.choice == ("b/", "a/")
    new = 128_000  # one layer; the kernel, 64 kB, is on the Pi
    assert new < ddi.sent < new + 20_000


def test_a_version_that_fails_is_undone_and_reported(
    pi: CallingPi, stand: FoldersStand, ddi: Ddi, tmp_path: Path
) -> None:
    ddi.bundle = pi.system_bundle(tmp_path / "new.swu")
    pi.stand.pi.write("fate", "panic")
    pi.call_until(lambda: ddi.bundle is None)
    assert ddi.reports[-1][:2] == ("closed", "failure")
    assert stand.choice == ("a/", "b/")


def test_containers_alone_are_replaced_without_a_restart_in_either_folder(
    pi: CallingPi, stand: FoldersStand, ddi: Ddi, tmp_path: Path
) -> None:
    """The bundle was made from the folder a/, and the Pi runs b/, whose files differ a little."""
    shared = {"id": "1" * 64, "system": swu.system_digest(pi.manifest)}
    pi.set_manifest({**pi.manifest, "folders": shared})
    made = pi.containers_bundle(tmp_path / "new.swu", release(pi, one="2", two="1"))
    pi.set_manifest({**pi.manifest, "files": {"cmdline.txt": "b" * 64}})
    ddi.bundle = made
    pi.call()
    assert ddi.reports[-1][:2] == ("closed", "success")
    assert not (stand.pi.root / "data/piimage/system/state").exists()


@pytest.mark.parametrize("consent", [False, True])
def test_another_boot_firmware_is_rejected_unless_the_card_may_keep_its_own(
    pi: CallingPi, stand: FoldersStand, ddi: Ddi, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch, *, consent: bool,
) -> None:  # fmt: skip
    wish = stand.wish()
    assert wish.system is not None
    firmware = {} if consent else {**wish.system.firmware, "start.elf": "0" * 64}
    other = replace(wish, system=replace(wish.system, firmware=firmware))
    monkeypatch.setattr(stand, "wish", lambda: other)
    before = stand.slot(1)
    ddi.bundle = pi.system_bundle(tmp_path / "new.swu")
    pi.call_until(lambda: ddi.bundle is None)
    if consent:
        assert stand.choice == ("b/", "a/")
        assert stand.file("start.elf") == b"\x7fELF"
        return
    assert ddi.reports[-1][:2] == ("closed", "failure")
    assert "another boot firmware, which both slots of this card share" in ddi.reports[-1][2]
    assert (stand.slot(1), pi.files()) == (before, set())
