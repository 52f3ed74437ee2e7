from __future__ import annotations

import struct
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from piimage.errors import PiimageError
from piimage.firmware.fat import FatReader, Node, _node, _runs, _short_name
from piimage.run import Runner
from tests.examples import examples

FILES = {
    "config.txt": b"a=1\n",
    "EMPTY.BIN": b"",
    "overlays/i2c1.dtbo": bytes(range(256)) * 40,
    "layers/" + "0123456789abcdef" * 4 + ".squashfs": b"\x5a" * 150_000,
    "Grüße aus dem Süden.txt": b"umlauts",
}


def volume(runner: Runner, folder: Path, *, kib: int, bits: int) -> bytes:
    """Return a file system made by mkfs.fat and mtools."""
    image = folder / "fat.img"
    with image.open("wb") as file:
        file.truncate(kib << 10)
    runner.run(["mkfs.fat", "-F", str(bits), "-s", "1", image])
    for name in ("overlays", "layers"):
        runner.run(["mmd", "-i", image, f"::{name}"])
    for name, content in FILES.items():
        runner.run(["mcopy", "-i", image, "-", f"::{name}"], stdin=content)
    return image.read_bytes()


@pytest.mark.parametrize(("kib", "bits"), [(1500, 12), (6000, 16), (40_000, 32)])
def test_files_written_by_mtools_are_read(
    runner: Runner, tmp_path: Path, kib: int, bits: int
) -> None:
    data = volume(runner, tmp_path, kib=kib, bits=bits)
    fat = FatReader(data, 0, len(data), "image")
    assert {name: fat.read(name) for name in FILES} == FILES
    assert fat.read("OVERLAYS/I2C1.DTBO") == FILES["overlays/i2c1.dtbo"]
    assert sorted(name.casefold() for name in fat.names("overlays")) == ["i2c1.dtbo"]
    assert fat.read("overlays") is None
    assert fat.read("config.txt/x") is None
    assert fat.read("absent") is None
    assert fat.exists("./config.txt")
    assert not fat.exists("overlays")


def file_system(clusters: int, bits: int) -> bytes:
    """Return a file system of clusters of 512 bytes, with A.TXT in the third and fourth."""
    fat_size = -(-(clusters + 2) * bits // 8 // 512) + 1
    root_entries = 0 if bits == 32 else 16
    data_at = 1 + fat_size + root_entries * 32 // 512
    image = bytearray((data_at + clusters) * 512)
    struct.pack_into("<HBHBH", image, 11, 512, 1, 1, 1, root_entries)
    struct.pack_into("<I", image, 32, data_at + clusters)
    struct.pack_into("<I", image, 36, fat_size)
    struct.pack_into("<I", image, 44, 2)
    if bits != 32:
        struct.pack_into("<H", image, 22, fat_size)
    image[510:512] = b"\x55\xaa"
    end = (1 << min(bits, 28)) - 1
    chains = {2: end, 3: 4, 4: end}
    table = sum(value << number * bits for number, value in chains.items())
    image[512 : 512 + 5 * bits // 8 + 1] = table.to_bytes(5 * bits // 8 + 1, "little")
    root = (data_at if bits == 32 else data_at - 1) * 512
    struct.pack_into("<11sB14xHI", image, root, b"A       TXT", 0x20, 3, 1024)
    image[(data_at + 1) * 512 : (data_at + 3) * 512] = b"a" * 1024
    return bytes(image)


@pytest.mark.parametrize(("clusters", "bits"), [(4084, 12), (4085, 16), (65_524, 16), (65_525, 32)])
def test_the_number_of_clusters_determines_the_width_of_an_entry(clusters: int, bits: int) -> None:
    """Microsoft's specification of FAT32 (version 1.03), "FAT type determination"."""
    data = file_system(clusters, bits)
    fat = FatReader(data, 0, len(data), "image")
    assert fat.clusters == clusters
    assert fat.read("A.TXT") == b"a" * 1024


def test_a_file_system_within_a_disk_is_read(runner: Runner, tmp_path: Path) -> None:
    data = volume(runner, tmp_path, kib=1500, bits=12)
    fat = FatReader(b"\xff" * 4096 + data + b"\xff" * 512, 4096, len(data), "image")
    assert fat.read("config.txt") == b"a=1\n"


def test_a_folder_that_fills_its_cluster_is_read_to_its_end(runner: Runner, tmp_path: Path) -> None:
    """A sector of 512 bytes has 16 entries of 32: `.`, `..`, and 14 short names."""
    volume(runner, tmp_path, kib=1500, bits=12)
    image, names = tmp_path / "fat.img", [f"FILE{number}.TXT" for number in range(14)]
    runner.run(["mmd", "-i", image, "::FULL"])
    for name in names:
        runner.run(["mcopy", "-i", image, "-", f"::FULL/{name}"], stdin=name.encode())
    data = image.read_bytes()
    fat = FatReader(data, 0, len(data), "image")
    assert sorted(fat.names("FULL"), key=str.casefold) == sorted(names)
    assert fat.read("full/file13.txt") == b"FILE13.TXT"


@pytest.mark.provokes("firmware.damaged-fat")
@pytest.mark.parametrize(
    ("at", "change"),
    [
        (510, b"\0\0"),  # no signature
        (11, b"\x01\x00"),  # bytes per sector
        (13, b"\x03"),  # sectors per cluster
        (16, b"\x00"),  # no table of clusters
        (19, b"\xff\xff"),  # more sectors than the partition has
        (22, b"\xff\xff"),  # a table larger than the partition
    ],
)
def test_an_impossible_boot_sector_is_refused(
    runner: Runner, tmp_path: Path, at: int, change: bytes
) -> None:
    data = bytearray(volume(runner, tmp_path, kib=1500, bits=12))
    data[at : at + len(change)] = change
    with pytest.raises(PiimageError) as caught:
        FatReader(bytes(data), 0, len(data), "image").read("config.txt")
    assert caught.value.code == "firmware.damaged-fat"


@pytest.mark.provokes("firmware.damaged-fat")
def test_a_chain_with_a_loop_is_refused(runner: Runner, tmp_path: Path) -> None:
    data = bytearray(volume(runner, tmp_path, kib=6000, bits=16))
    reserved = int.from_bytes(data[14:16], "little") * 512
    for cluster in range(2, 2000):  # the next cluster of every cluster is itself
        at = reserved + cluster * 2
        if data[at : at + 2] != b"\0\0":
            data[at : at + 2] = cluster.to_bytes(2, "little")
    with pytest.raises(PiimageError, match=r"loop|ends after|larger"):
        FatReader(bytes(data), 0, len(data), "image").read("overlays/i2c1.dtbo")


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    return volume(Runner(), tmp_path_factory.mktemp("fat"), kib=300, bits=12)


@settings(
    max_examples=examples(150),
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(st.lists(st.tuples(st.integers(0, 0x4000), st.binary(min_size=1, max_size=8)), max_size=8))
def test_a_damaged_file_system_gives_content_or_an_error(
    sound: bytes, changes: list[tuple[int, bytes]]
) -> None:
    data = bytearray(sound)
    for at, change in changes:
        data[at : at + len(change)] = change
    try:
        fat = FatReader(bytes(data), 0, len(data), "image")
        for name in (*FILES, "layers/x"):
            fat.read(name)
        fat.names("layers")
    except PiimageError as error:
        assert error.code == "firmware.damaged-fat"


@settings(max_examples=examples(80), deadline=None)
@given(st.binary(max_size=2048))
def test_random_bytes_are_refused_or_an_empty_file_system(data: bytes) -> None:
    try:
        FatReader(data, 0, len(data), "image").read("config.txt")
    except PiimageError as error:
        assert error.code == "firmware.damaged-fat"


def entry(
    name: bytes, attributes: int = 0x20, case: int = 0, first: int = 0, size: int = 0
) -> bytes:
    """fatgen103, "FAT 32 byte directory entry": the cluster's high half at 20, low at 26."""
    return struct.pack(
        "<11sBB7xH4xHI", name, attributes, case, first >> 16, first & 0xFFFF, size
    )  # fmt: skip


@pytest.mark.parametrize(
    ("raw", "case", "name"),
    [
        (b"CONFIG  TXT", 0, "CONFIG.TXT"), (b"CONFIG  TXT", 0x08, "config.TXT"),
        (b"CONFIG  TXT", 0x10, "CONFIG.txt"), (b"CONFIG  TXT", 0x18, "config.txt"),
        (b"KERNEL     ", 0x08, "kernel"), (b"A B     C  ", 0, "A B.C"), (b"\x9a       ", 0, "Ü"),
    ],
)  # fmt: skip
def test_short_names(raw: bytes, case: int, name: str) -> None:
    """Bits 3 and 4 of byte 12 mark lower case, as Windows and mtools write it."""
    assert _short_name(entry(raw.ljust(11), case=case)) == name


def test_entries_of_files_and_folders() -> None:
    file = entry(b"A       TXT", first=0x12345678, size=77)
    assert _node(file, "") == Node("A.TXT", 0x12345678, 77, folder=False)
    assert _node(file, "long name.txt").name == "long name.txt"
    folder = entry(b"D          ", 0x10, first=5, size=77)
    assert _node(folder, "") == Node("D", 5, 0, folder=True)


@pytest.mark.parametrize(
    ("clusters", "runs"),
    [([], []), ([2], [(2, 1)]), ([2, 3, 4, 9, 11, 12], [(2, 3), (9, 1), (11, 2)]),
     ([5, 4], [(5, 1), (4, 1)]), ([0, 1], [(0, 2)])],
)  # fmt: skip
def test_runs_of_clusters(clusters: list[int], runs: list[tuple[int, int]]) -> None:
    assert list(_runs(clusters)) == runs


def changed(*changes: tuple[int, bytes], clusters: int = 5000, bits: int = 16) -> FatReader:
    data = bytearray(file_system(clusters, bits))
    for at, change in changes:
        data[at : at + len(change)] = change
    return FatReader(bytes(data), 0, len(data), "image")


@pytest.mark.parametrize(("sector", "right"), [(256, 0), (512, 1), (513, 0), (8192, 0)])
def test_sizes_of_sectors(sector: int, right: int) -> None:
    if right:
        assert changed((11, struct.pack("<H", sector))).sector == sector
    else:
        with pytest.raises(PiimageError, match="its boot sector has invalid sizes"):
            changed((11, struct.pack("<H", sector)))


@pytest.mark.parametrize("sector", [1024, 2048, 4096])
def test_larger_sectors_are_read(sector: int) -> None:
    data = bytearray(100 * sector)
    struct.pack_into("<HBHBHHBH", data, 11, sector, 1, 1, 1, 16, 100, 0xF8, 1)
    data[510:512] = b"\x55\xaa"
    fat = FatReader(bytes(data), 0, len(data), "image")
    assert (fat.sector, fat.clusters, fat.names()) == (sector, 97, ())


@pytest.mark.parametrize("per_cluster", [0, 3, 5, 255])
def test_clusters_are_a_power_of_two_sectors(per_cluster: int) -> None:
    with pytest.raises(PiimageError, match="its boot sector has invalid sizes"):
        changed((13, bytes([per_cluster])))


@pytest.mark.parametrize(
    ("at", "value", "reason"),
    [
        (14, b"\0\0", "contradicts the partition"),
        (16, b"\0", "contradicts the partition"),
        (22, b"\0\0", "contradicts the partition"),
    ],
)
def test_a_boot_sector_without_what_it_needs(at: int, value: bytes, reason: str) -> None:
    with pytest.raises(PiimageError, match=reason):
        changed((at, value), (36, bytes(4)))


def test_the_chain_of_a_file() -> None:
    assert changed().read("A.TXT") == b"a" * 1024
    whole = struct.pack("<I", 5020 * 512)  # more than all clusters have
    for cluster, reason in ((1, "leads to cluster 1,"), (5002, "leads to cluster 5002"),
                            (3, "loop")):  # fmt: skip
        fat = changed((512 + 6, struct.pack("<H", cluster)), (_root_of() + 28, whole))
        with pytest.raises(PiimageError, match=reason):
            fat.read("A.TXT")


def _root_of() -> int:
    """Where the root of 5000 clusters begins: a sector, and a table of 21."""
    return (1 + -(-5002 * 2 // 512) + 1) * 512


def test_what_is_no_file_is_passed_over() -> None:
    """A deleted entry, a label, `.`, and the end of the folder."""
    root = _root_of()
    entries = [
        entry(b"\xe5ONE    TXT"), entry(b"LABEL      ", 0x08), entry(b".          ", 0x10),
        entry(b"B       TXT", 0x21), entry(b"\0"), entry(b"C       TXT"),
    ]  # fmt: skip
    assert changed((root, b"".join(entries))).names() == ("B.TXT",)


def test_long_names_are_put_together_in_their_order() -> None:
    """fatgen103, "Long directory entries": the number in the low six bits, the last has 0x40."""

    def part(number: int, text: str) -> bytes:
        units = text.encode("utf-16-le").ljust(26, b"\xff")
        return bytes([number]) + units[:10] + b"\x0f\0\0" + units[10:22] + b"\0\0" + units[22:]

    short = entry(b"LONGNA~1TXT")
    parts = part(0x42, "xt\0"), part(1, "a long name.t")
    assert changed((_root_of(), b"".join([*parts, short]))).names() == ("a long name.txt",)
    deleted = b"".join([*parts, entry(b"LABEL      ", 0x08), short])
    assert changed((_root_of(), deleted)).names() == ("LONGNA~1.TXT",)
