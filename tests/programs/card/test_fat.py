from __future__ import annotations

import io
import os
import struct
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from piimage.card import partitions
from piimage.card.extents import total
from piimage.card.fat import FatVolume, _children, _name_errors, _path_fault, by_folder
from piimage.card.fat_layout import (
    Layout,
    clusters_of_folder,
    entries_of,
    sectors_per_cluster,
)
from piimage.card.image import CardPlan, write_card
from piimage.errors import ErrorGroup, InputError, PiimageError
from piimage.run import Runner
from tests.examples import examples
from tests.imager import customise
from tests.unit.card.volumes import OFFSET, flashed, tool, written

MIB = 1 << 20
LAYER = f"layers/{'0a' * 32}.squashfs"


def slot(files: dict[str, Path | bytes], size: int = 40 * MIB, bits: int = 32) -> FatVolume:
    return FatVolume("slot A", "SLOTA", 0x1234ABCD, size, files, bits)


def listing(image: Path) -> list[str]:
    return tool("mdir", "-i", image, "-/", "-b", "::").split()


def test_the_volume_has_its_files(tmp_path: Path) -> None:
    layer = tmp_path / "stored-under-another-name"
    layer.write_bytes(os.urandom(3 * MIB + 17))
    files: dict[str, Path | bytes] = {
        "config.txt": b"enable_uart=1\n",
        "empty": b"",
        LAYER: layer,
        "overlays/vc4-kms-v3d-pi5.dtbo": b"x" * 5000,
        "overlays/README": b"read me",
        "a/b/c/deep.txt": b"deep",
    }
    image, _ = written(slot(files), tmp_path)
    tool("fsck.vfat", "-n", image)
    for path, content in files.items():
        expected = content if isinstance(content, bytes) else content.read_bytes()
        copy = tmp_path / "copy"
        tool("mcopy", "-n", "-o", "-i", image, f"::{path}", copy)
        assert copy.read_bytes() == expected
    assert {line.removeprefix("::/") for line in listing(image)} == {
        *files,
        "layers/",
        "overlays/",
        "a/",
        "a/b/",
        "a/b/c/",
    }
    assert "1234-ABCD" in tool("mdir", "-i", image, "::")


def test_the_same_files_give_the_same_bytes_in_any_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def volume_of(folder: Path, names: list[str]) -> bytes:
        folder.mkdir()
        layer = folder / "layer"
        layer.write_bytes(b"layer" * 9999)
        os.utime(layer, (len(names), len(names)))
        files = {"b.txt": b"b", "a.txt": b"a", LAYER: layer, "overlays/z.dtbo": b"z"}
        return written(slot({name: files[name] for name in names}), folder)[0].read_bytes()

    order = ["b.txt", "a.txt", LAYER, "overlays/z.dtbo"]
    first = volume_of(tmp_path / "first", order)
    monkeypatch.setenv("TZ", "Asia/Tokyo")
    monkeypatch.setenv("LC_ALL", "C")
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / ".mtoolsrc").write_text("mtools_lower_case=1\nMTOOLS_NO_VFAT=1\n")
    old = os.umask(0o077)
    try:
        assert volume_of(tmp_path / "second", order[::-1]) == first
    finally:
        os.umask(old)


def test_the_layout_is_read_from_the_boot_sector() -> None:
    """fatgen103, "Boot Sector and BPB" and "FAT type determination", computed by hand.

    512 roots of 32 bytes are 32 sectors: 40000 - 4 - 2 * 40 - 32 sectors by four are 9971 clusters.
    """
    sector = bytearray(512)
    struct.pack_into("<HBHBHH", sector, 11, 512, 4, 4, 2, 512, 40_000)
    struct.pack_into("<H", sector, 22, 40)
    assert Layout.read(bytes(sector)) == Layout(
        bits=16,
        cluster=2048,
        tables_at=2048,
        table_size=20_480,
        tables=2,
        root_size=16_384,
        clusters=9971,
    )


@pytest.mark.parametrize(("names", "clusters"), [(0, 1), (7, 1), (8, 2), (15, 2), (16, 3)])
def test_the_number_of_clusters_of_a_folder(names: int, clusters: int) -> None:
    """Entries of 32 bytes: `.`, `..`, and two for each name up to 13 letters; 16 in 512 bytes."""
    assert clusters_of_folder(["config.txt"] * names, 512) == clusters


def test_a_small_selector_is_a_fat16(tmp_path: Path) -> None:
    image, extents = written(slot({"autoboot.txt": b"[all]\n"}, 16 * MIB, bits=16), tmp_path)
    tool("fsck.vfat", "-n", image)
    assert image.read_bytes()[54:62] == b"FAT16   "
    assert total(extents) < 128 << 10


@pytest.mark.parametrize(("size", "bits"), [(16, 16), (64, 32)])
def test_the_extents_alone_give_a_healthy_volume_on_a_used_card(
    tmp_path: Path, size: int, bits: int
) -> None:
    files: dict[str, Path | bytes] = {f"d{n % 7}/f{n}": os.urandom(n * 997) for n in range(60)}
    volume = slot(files, size * MIB, bits)
    image, extents = written(volume, tmp_path)
    card = tmp_path / "card"
    card.write_bytes(flashed(image, extents))
    tool("fsck.vfat", "-n", card)
    for path, content in files.items():
        copy = tmp_path / "copy"
        tool("mcopy", "-n", "-o", "-i", card, f"::{path}", copy)
        assert copy.read_bytes() == content
    used = sum(len(content) for content in files.values() if isinstance(content, bytes))
    assert total(extents) < used + 2 * MIB


@pytest.mark.provokes("card.slot-full")
def test_a_full_slot_is_refused_before_writing_with_the_needed_size(tmp_path: Path) -> None:
    layer = tmp_path / "layer"
    with layer.open("wb") as file:
        file.truncate(41 * MIB)
    with pytest.raises(PiimageError) as caught:
        written(slot({LAYER: layer}), tmp_path)
    assert str(caught.value) == (
        "slot A needs 41.0 MiB for its files, but has only 40 MiB; "
        "enlarge it to 50 MiB or more, or remove files from it"
    )


def test_a_slot_can_be_filled_completely(tmp_path: Path) -> None:
    probe, _ = written(slot({}), tmp_path)
    layout = Layout.read(probe.read_bytes()[:512])
    space = (layout.clusters - 2) * layout.cluster  # the root and the folder need two
    image, extents = written(slot({"layers/x": bytes(space)}), tmp_path)
    tool("fsck.vfat", "-n", image)
    assert total(extents) == layout.data_at + layout.clusters * layout.cluster
    with pytest.raises(PiimageError, match="slot A needs"):
        written(slot({"layers/x": bytes(space + 1)}), tmp_path)


@pytest.mark.provokes("card.bad-name")
@pytest.mark.parametrize(
    "path",
    [
        "/abs",
        "a//b",
        "../up",
        "a/./b",
        "a:b",
        "what?",
        "tab\t",
        "end.",
        "end ",
        "[x]",
        "x" * 256,
        "",
    ],
)
def test_a_name_that_a_fat_cannot_hold_is_refused(tmp_path: Path, path: str) -> None:
    with pytest.raises(InputError, match="cannot hold"):
        written(slot({path: b""}), tmp_path)


def test_all_bad_names_are_reported_at_once(tmp_path: Path) -> None:
    files: dict[str, Path | bytes] = {
        "a:": b"",
        "b:": b"",
        "X": b"",
        "x": b"",
        "y": b"",
        "y/z": b"",
    }
    with pytest.raises(ErrorGroup) as caught:
        written(slot(files), tmp_path)
    message = str(caught.value)
    assert len(caught.value.errors) == 4
    assert "does not distinguish it from 'X'" in message
    assert "one of its parents is a file" in message


def test_a_label_that_is_too_long_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="1 to 11"):
        written(FatVolume("slot A", "TWELVELETTERS", 1, 40 * MIB), tmp_path)


@pytest.mark.provokes("card.volume-size")
def test_a_size_that_no_fat_has_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="FAT32 of 20 MiB does not exist"):
        written(slot({}, 20 * MIB), tmp_path)


@pytest.mark.parametrize("bits", [16, 32])
@pytest.mark.parametrize("size", [4, 8, 40, 64, 256, 260, 300, 512, 1024, 2047, 16384])
def test_fsck_accepts_every_supported_size(tmp_path: Path, size: int, bits: int) -> None:
    if sectors_per_cluster(size * MIB, bits) is None:
        assert (bits == 32 and size < 40) or (bits == 16 and size >= 2047)
        return
    image = tmp_path / "image"
    with image.open("wb") as file:
        file.truncate(size * MIB)
    FatVolume("x", "X", 1, size * MIB, {"f": b"x"}, bits).write(Runner(), image, 0)
    tool("fsck.vfat", "-n", image)
    with image.open("rb") as file:
        assert Layout.read(file.read(512)).bits == bits


@given(st.text(min_size=1, max_size=255))
def test_a_long_name_needs_an_entry_for_thirteen_units(name: str) -> None:
    units = len(name.encode("utf-16-le", "surrogatepass")) // 2
    assert (entries_of(name) - 2) * 13 < units <= (entries_of(name) - 1) * 13


PATHS = st.lists(st.sampled_from("abc"), min_size=1, max_size=4).map("/".join)


@settings(max_examples=examples(50))
@given(st.sets(PATHS))
def test_folders_come_before_their_subfolders(paths: set[str]) -> None:
    folders = by_folder(dict.fromkeys(paths, b""))
    assert {f"{d}/{n}".removeprefix("./") for d, names in folders.items() for n in names} == paths
    order = list(folders)
    for folder in order[1:]:
        parent = folder.rpartition("/")[0] or "."
        assert order.index(parent) < order.index(folder)


def test_the_boot_sector_has_the_offset_of_the_volume(tmp_path: Path) -> None:
    image, _ = written(slot({}), tmp_path)
    assert int.from_bytes(image.read_bytes()[28:32], "little") == OFFSET // 512


def test_files_have_the_one_time_stamp(tmp_path: Path) -> None:
    """Folder entries, fatgen103: times in two seconds at 14 and 22, days from 1980 at 16 to 24."""
    image, _ = written(slot({"A.TXT": b"x", "SUB/B.TXT": b"y"}), tmp_path)
    data = image.read_bytes()
    # 2025-01-01 00:00:00: 45 years, month 1, day 1.
    date = (45 << 9 | 1 << 5 | 1).to_bytes(2, "little")
    for name in (b"A       TXT", b"SUB        ", b"B       TXT"):
        at = data.index(name)
        entry = data[at : at + 32]
        assert (entry[14:18], entry[22:26]) == (b"\0\0" + date, b"\0\0" + date), name
        assert entry[18:20] == date, name


@pytest.mark.provokes("card.slot-full", "card.bad-name")
def test_a_file_of_one_byte_less_than_4_gib_is_the_largest(tmp_path: Path) -> None:
    """Its size is a number of 32 bits (fatgen103, DIR_FileSize)."""
    layer = tmp_path / "layer"
    for size, message in ((4_294_967_295, "slot A needs"), (4_294_967_296, "smaller than 4 GiB")):
        with layer.open("wb") as file:
            file.truncate(size)
        with pytest.raises(PiimageError, match=message):
            written(slot({"layer": layer}), tmp_path)


@pytest.mark.parametrize(("size", "bits"), [(16 * MIB, 16), (1024 * MIB, 32)])
def test_raspberry_pi_imager_can_add_files_to_the_first_partition(
    tmp_path: Path, size: int, bits: int
) -> None:
    """The sizes are those of the boards' first partitions; Imager refuses a FAT12."""
    image = tmp_path / "card.img"
    plan = CardPlan("x", 0x1234ABCD, (slot({"config.txt": b"a=1\n"}, size, bits),))
    write_card(Runner(), plan, image)
    files = {
        "meta-data": b"instance-id: x\n",
        "user-data": b"#cloud-config\n" * 900,
        "network-config": b"version: 2\n",
        "cmdline.txt": b" ds=nocloud",
    }
    customise(image, files)
    drive = f"{image}@@{partitions.ALIGNMENT}"
    names = {line.removeprefix("::/") for line in tool("mdir", "-i", drive, "-b", "::").split()}
    assert names == {"config.txt", *files}
    for name, content in files.items():
        tool("mcopy", "-n", "-o", "-i", drive, f"::{name}", tmp_path / "copy")
        assert (tmp_path / "copy").read_bytes() == content


@pytest.mark.parametrize(
    ("bits", "size", "cluster"),
    [
        (32, 32, None), (32, 33, 1), (32, 64, 1), (32, 65, 2), (32, 128, 2), (32, 129, 4),
        (32, 256, 4), (32, 257, 8), (32, 65536, 8),
        (16, 2, None), (16, 3, 1), (16, 4, 1), (16, 5, 2), (16, 9, 4), (16, 17, 8), (16, 255, 8),
        (16, 256, 16), (16, 511, 16), (16, 512, 32), (16, 1024, 64), (16, 2045, 64),
        (16, 2046, None),
    ],
)  # fmt: skip
def test_clusters_have_4_kib_where_their_number_permits(
    bits: int, size: int, cluster: int | None
) -> None:
    """fatgen103, "FAT type determination": a FAT16 has 4085 to 65524 clusters, a FAT32 more.

    With 4 KiB, 65,525 clusters and their two tables of 4 bytes are just below 257 MiB.
    """
    assert sectors_per_cluster(size * MIB, bits) == cluster


@pytest.mark.parametrize(("bits", "letter"), [(16, "<H"), (32, "<I")])
def test_the_used_parts_are_those_before_the_data_and_the_chains(bits: int, letter: str) -> None:
    """Two tables of one sector, then clusters of 1024 bytes, which count from 2."""
    layout = Layout(bits, 1024, 512, 512, 2, 512 if bits == 16 else 0, 20)
    start = 1536 + (512 if bits == 16 else 0)
    assert layout.data_at == start
    end = (1 << bits) - 1 if bits == 16 else 0x0FFFFFFF
    for used, runs in (
        ([], []),
        ([2], [(0, 1)]),
        ([2, 3, 5, 21], [(0, 2), (3, 4), (19, 20)]),
        ([20, 21, 22], [(18, 20)]),  # 22 would be past the last cluster
    ):
        numbers = [end, end, *(end if n in used else 0 for n in range(2, 30))]
        table = b"".join(struct.pack(letter, number) for number in numbers)
        volume = io.BytesIO(bytes(7 + 512) + table.ljust(512, b"\0") + bytes(512))
        assert [(e.start, e.end) for e in layout.used(volume, 7)] == [
            (0, start), *((start + a * 1024, start + b * 1024) for a, b in runs),
        ]  # fmt: skip


def test_more_than_a_thousand_files_are_copied(tmp_path: Path) -> None:
    files: dict[str, Path | bytes] = {f"d/f{n}": b"%d" % n for n in range(1001)}
    image, _ = written(slot(files), tmp_path)
    assert len(listing(image)) == 1002
    assert tool("mtype", "-i", image, "::d/f1000") == "1000"


@pytest.mark.parametrize("path", ["x" * 255, "a b.c", "é" * 255, "😀" * 127, "a.b.c"])
def test_names_that_a_fat_can_hold(path: str) -> None:
    assert _path_fault(path) is None


@pytest.mark.parametrize(
    "path",
    ["😀" * 128, " a", "a\x7f", "a\x00", "a\x1f", 'a"', "a*", "a<", "a>", "a\\b", "a|", "a]"],
)
def test_names_that_a_fat_cannot_hold(path: str) -> None:
    """fatgen103, "Long directory entries": at most 255 units, and none of these characters."""
    assert _path_fault(path)


@pytest.mark.parametrize(("label", "right"), [("X", 1), ("ELEVENCHARS", 1), ("", 0), ("É", 0)])
def test_labels(label: str, right: int) -> None:
    errors = list(_name_errors(FatVolume("slot A", label, 1, 40 * MIB)))
    assert len(errors) == 1 - right


def test_folders_need_room_for_their_names_too(tmp_path: Path) -> None:
    """A name of 170 units takes 15 entries of 32 bytes: 16 of them more than 7 KiB of a folder."""
    probe, _ = written(slot({}), tmp_path)
    layout = Layout.read(probe.read_bytes()[:512])
    names: dict[str, Path | bytes] = {f"d/{n:x}{'n' * 169}": b"" for n in range(16)}
    folder = -(-(2 + 16 * 15) * 32 // layout.cluster)
    space = (layout.clusters - folder - 1) * layout.cluster
    written(slot({**names, "x": bytes(space)}), tmp_path)
    with pytest.raises(PiimageError, match="slot A needs"):
        written(slot({**names, "x": bytes(space + 1)}), tmp_path)


def test_a_folder_is_no_child_of_its_own() -> None:
    contents = by_folder({"x": b"", "d/y": b"", "d/e/z": b""})
    assert {folder: sorted(_children(folder, contents)) for folder in contents} == {
        ".": ["d", "x"], "d": ["e", "y"], "d/e": ["z"],
    }  # fmt: skip
