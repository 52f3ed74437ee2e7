"""What a machine with UEFI leaves in its flash for systemd-boot."""

from __future__ import annotations

import struct
import uuid
from pathlib import Path

import pytest

from piimage.emulator.drive import Drive
from piimage.emulator.firmware import try_is_next
from piimage.emulator.variables import one_shot_entry

LOADER = "4a67b082-0a4c-41cf-b6c7-440b29bb8c4f"
STORE = "aaf32c78-947b-439a-a180-2e144ec37792"
ONE_SHOT = "LoaderEntryOneShot"


def variable(name: str, value: str, *, vendor: str = LOADER, state: int = 0x3F) -> bytes:
    """Return a variable as EDK II stores it, up to the next one."""
    words = [f"{text}\0".encode("utf-16-le") for text in (name, value)]
    head = struct.pack(
        "<HBBIQ16xIII16s", 0x55AA, state, 0, 7, 0, 0, *map(len, words), uuid.UUID(vendor).bytes_le
    )
    content = head + b"".join(words)
    return content + b"\xff" * (-len(content) % 4)


def flash(folder: Path, *variables: bytes, store: str = STORE, size: int = 1 << 18) -> Path:
    """Write a flash chip with these variables."""
    header = bytes(40) + b"_FVH" + bytes(4) + struct.pack("<H", 72) + bytes(22)
    begin = uuid.UUID(store).bytes_le + struct.pack("<IBB6x", size, 0x5A, 0xFE)
    path = folder / "card.qcow2.variables"
    path.write_bytes(header + begin + b"".join(variables) + b"\xff" * 4096)
    return path


def test_the_entry_of_the_next_start_is_found_among_others(tmp_path: Path) -> None:
    image = flash(
        tmp_path,
        variable("Boot0000", "x", vendor="8be4df61-93ca-11d2-aa0d-00e098032b8c"),
        variable(ONE_SHOT, "other", vendor=STORE),
        variable(ONE_SHOT, "old.conf", state=0x3C),
        variable("odd", "abc"),
        variable(ONE_SHOT, "try.conf"),
    )
    assert one_shot_entry(image) == "try.conf"
    assert try_is_next(Drive(tmp_path / "card.qcow2", kept=False))


def test_what_the_boot_loader_has_removed_counts_no_more(tmp_path: Path) -> None:
    image = flash(tmp_path, variable(ONE_SHOT, "try.conf", state=0x3D))
    assert one_shot_entry(image) == ""
    assert not try_is_next(Drive(tmp_path / "card.qcow2", kept=False))


def test_a_variable_that_is_about_to_be_replaced_counts_still(tmp_path: Path) -> None:
    assert one_shot_entry(flash(tmp_path, variable(ONE_SHOT, "try.conf", state=0x3E))) == "try.conf"


@pytest.mark.parametrize(
    "content", [b"", bytes(1 << 16), bytes(40) + b"_FVH" + b"\xff" * 6, b"\xff" * 999]
)
def test_flash_that_no_firmware_has_written_yet_holds_none(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "card.qcow2.variables"
    path.write_bytes(content)
    assert one_shot_entry(path) == ""


def test_a_store_of_another_form_holds_none(tmp_path: Path) -> None:
    assert one_shot_entry(flash(tmp_path, variable(ONE_SHOT, "try.conf"), store=LOADER)) == ""


def test_a_store_that_ends_within_a_variable_is_read_to_its_end(tmp_path: Path) -> None:
    image = flash(tmp_path, variable("a", "b"), variable(ONE_SHOT, "try.conf"), size=120)
    assert one_shot_entry(image) == ""


def test_a_machine_without_flash_tells_nothing(tmp_path: Path) -> None:
    assert not try_is_next(Drive(tmp_path / "card.qcow2", kept=False))
