from __future__ import annotations

import struct
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from piimage.errors import PiimageError
from piimage.firmware import devicetree
from piimage.run import Runner
from tests.examples import examples
from tests.unit.firmware.cards import BASE, GOOD, blob, prop


def test_cells_are_written_as_by_the_boot_loader(runner: Runner, tmp_path: Path) -> None:
    tree = devicetree.with_cells(
        runner,
        blob(BASE),
        "/chosen/bootloader",
        {"partition": 2, "tryboot": 1},
        origin="test",
    )
    assert prop(runner, tree, tmp_path, "/chosen/bootloader", "partition") == "2"
    assert b"\x00\x00\x00\x02" in tree
    assert prop(runner, tree, tmp_path, "/chosen/bootloader", "tryboot") == "1"


@pytest.mark.parametrize(
    ("magic", "size", "length", "complete"),
    [
        (0xD00DFEED, 40, 40, True),
        (0xD00DFEED, 40, 99, True),  # more bytes may follow
        (0xD00DFEED, 41, 40, False),  # truncated
        (0xD00DFEED, 39, 99, False),  # shorter than its header
        (0xD00DFEEE, 40, 40, False),
        (0xD00DFEED, 40, 39, False),
    ],
)
def test_is_blob_checks_the_header(magic: int, size: int, length: int, complete: bool) -> None:
    """Specification 0.4, section 5.2: ten words, the magic and the size of the blob first."""
    data = (struct.pack(">II", magic, size) + bytes(99))[:length]
    assert devicetree.is_blob(data) is complete


def test_an_overlay_compiles_to_the_same_bytes_anywhere(runner: Runner, tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        (tmp_path / name / f"{name}.dtso").write_text(GOOD)
    a, b = (devicetree.compile_overlay(runner, tmp_path / n / f"{n}.dtso") for n in ("a", "b"))
    assert a == b


@pytest.mark.provokes("firmware.bad-overlay")
@pytest.mark.parametrize("source", ["", "/dts-v1/; /plugin/; &i2c1 { status = ", "\0"])
def test_a_source_that_does_not_compile_is_refused(
    runner: Runner, tmp_path: Path, source: str
) -> None:
    (tmp_path / "x.dtso").write_text(source)
    with pytest.raises(PiimageError) as caught:
        devicetree.compile_overlay(runner, tmp_path / "x.dtso")
    assert caught.value.code == "firmware.bad-overlay"


@settings(
    max_examples=examples(25),
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(st.data())
def test_a_damaged_tree_is_read_or_refused(runner: Runner, data: st.DataObject) -> None:
    tree = bytearray(blob(BASE))
    overlay = bytearray(blob(GOOD))
    for target in (tree, overlay):
        for at in data.draw(st.lists(st.integers(8, len(target) - 1), max_size=4)):
            target[at] ^= data.draw(st.integers(1, 255))
    try:
        result = devicetree.apply_overlays(
            runner, bytes(tree), [("x", bytes(overlay))], origin="test"
        )
        devicetree.with_cells(runner, result, "/chosen/bootloader", {"partition": 2}, origin="test")
    except PiimageError as error:
        assert error.code in ("firmware.bad-device-tree", "firmware.overlay-refused")
