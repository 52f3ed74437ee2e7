from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from piimage.board import DiskKind
from piimage.card import iso9660
from piimage.card.partitions import FAT, Partition
from piimage.emulator.drive import card_size, flattened, make_drive, usual_kind
from piimage.errors import ErrorGroup, InputError
from piimage.run import Runner

MIB = 1 << 20


@given(st.integers(1, 1 << 40), st.none() | st.integers(1, 1 << 40))
def test_a_card_holds_what_is_asked_for_and_is_a_power_of_two(
    image: int, wanted: int | None
) -> None:
    if wanted is not None and wanted < image:
        return
    size = card_size(image, wanted)
    assert size.bit_count() == 1
    assert size >= max(image, wanted or 0)
    assert size < 2 * max(image, wanted or 0, MIB)


@pytest.mark.provokes("emulator.disk-size")
def test_a_card_smaller_than_its_image_is_refused() -> None:
    with pytest.raises(InputError) as caught:
        card_size(5 * MIB, 4 * MIB)
    assert caught.value.code == "emulator.disk-size"


def image_of(folder: Path) -> Path:
    image = folder / "an image, with a comma.img"
    image.write_bytes(b"content" + bytes(3 * MIB))
    return image


def test_the_image_is_read_and_never_written(runner: Runner, tmp_path: Path) -> None:
    image = image_of(tmp_path)
    before = image.read_bytes()
    drive = make_drive(runner, image, tmp_path)
    runner.run(["qemu-io", "-f", "qcow2", "-c", "write -P 0x5a 1M 4k", drive.path])
    with flattened(runner, drive) as raw:
        content = raw.read_bytes()
    assert (len(content), content[:7]) == (4 * MIB, b"content")
    assert content[MIB : MIB + 4096] == b"\x5a" * 4096
    assert image.read_bytes() == before


def test_a_cd_has_the_size_of_its_image(runner: Runner, tmp_path: Path) -> None:
    drive = make_drive(runner, image_of(tmp_path), tmp_path, kind=DiskKind.CD)
    told = runner.run(["qemu-img", "info", "--output=json", drive.path]).stdout
    assert json.loads(told)["virtual-size"] == len(b"content") // 512 * 512 + 3 * MIB + 512
    assert not drive.kept


@pytest.mark.provokes("emulator.cd")
def test_what_needs_a_disk_to_write_to_is_refused_for_a_cd(runner: Runner, tmp_path: Path) -> None:
    """All at once; and nothing is made."""
    kept = tmp_path / "kept.qcow2"
    with pytest.raises(ErrorGroup) as caught:
        make_drive(runner, image_of(tmp_path), tmp_path, size=9 * MIB, kept=kept, kind=DiskKind.CD)
    assert [(e.code, e.place) for e in caught.value.errors] == [
        ("emulator.cd", "--disk"), ("emulator.cd", "--disk-file")
    ]  # fmt: skip
    assert not kept.exists()


def test_an_iso_is_a_cd_if_nothing_else_is_said(tmp_path: Path) -> None:
    iso = tmp_path / "a.iso"
    data = iso9660.encode("a", Partition(FAT, MIB, MIB), 2 * MIB)
    iso.write_bytes(bytes(iso9660.START) + data)
    assert usual_kind(iso) is DiskKind.CD
    assert usual_kind(image_of(tmp_path)) is DiskKind.CARD


def test_a_kept_card_is_its_users_alone(runner: Runner, tmp_path: Path) -> None:
    """The machine writes its SSH host key there."""
    kept = tmp_path / "kept.qcow2"
    make_drive(runner, image_of(tmp_path), tmp_path, kept=kept)
    assert kept.stat().st_mode & 0o777 == 0o600


def test_a_larger_card_can_be_had(runner: Runner, tmp_path: Path) -> None:
    drive = make_drive(runner, image_of(tmp_path), tmp_path, size=100 * MIB)
    told = runner.run(["qemu-img", "info", "--output=json", drive.path]).stdout
    assert json.loads(told)["virtual-size"] == 128 * MIB


def test_a_kept_card_keeps_what_was_written(runner: Runner, tmp_path: Path) -> None:
    image, kept = image_of(tmp_path), tmp_path / "kept.qcow2"
    drive = make_drive(runner, image, tmp_path, kept=kept)
    runner.run(["qemu-io", "-f", "qcow2", "-c", "write -P 7 0 512", drive.path])
    again = make_drive(runner, image, tmp_path, kept=kept)
    with flattened(runner, again) as raw:
        assert raw.read_bytes()[:512] == b"\x07" * 512
