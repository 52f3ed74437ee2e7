from __future__ import annotations

import datetime
import gzip
from collections.abc import Collection, Mapping
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from piimage.boards import load_board
from piimage.errors import PiimageError
from piimage.firmware.bootfiles import BootFiles
from piimage.firmware.card import find_manifest, open_card
from piimage.firmware.reader import read_card, require_bootable
from piimage.run import Runner
from tests.examples import examples
from tests.unit.firmware.cards import (
    AUTOBOOT,
    BASE,
    CONFIG,
    DTB,
    FOREIGN,
    GOOD,
    KERNEL,
    SLOT,
    blob,
    board_of,
    card,
    firmware_of,
    prop,
)


def read(
    runner: Runner,
    folder: Path,
    *partitions: Mapping[str, bytes],
    board: str = "qemu-virt",
    tryboot: bool = False,
) -> BootFiles:
    """Read a card with `partitions`; each of them gets the board's firmware too."""
    with_firmware = ({**firmware_of(board), **files} for files in partitions)
    image = card(runner, folder / "card.img", *with_firmware)
    return read_card(image, board_of(board), runner, tryboot=tryboot)


def test_autoboot_selects_the_active_slot(runner: Runner, tmp_path: Path) -> None:
    other = {**SLOT, "initramfs.img": b"initramfs B"}
    files = read(runner, tmp_path, {"autoboot.txt": AUTOBOOT}, SLOT, other)
    assert (files.partition, files.kernel, files.initramfs) == (2, KERNEL, b"initramfs A")
    assert files.cmdline == "console=ttyAMA0 quiet"
    assert files.device_tree is None
    assert files.remarks == ()
    image = tmp_path / "card.img"
    tried = read_card(image, load_board("qemu-virt"), runner, tryboot=True)
    assert (tried.partition, tried.initramfs, tried.tryboot) == (3, b"initramfs B", True)


PRESENT, BEFORE_WALKS, BEFORE_TRIES = None, datetime.date(2025, 8, 12), datetime.date(2022, 11, 24)


def pi_card(runner: Runner, folder: Path, board: str, whole: Collection[int]) -> Path:
    """Write a card with autoboot.txt; of slots 2 and 3, those not in `whole` are empty."""
    slot = {**SLOT, **firmware_of(board), "config.txt": CONFIG + DTB + b"os_check=0\n"}
    slot |= {"board.dtb": blob(BASE)}
    slots = [slot if number in whole else {} for number in (2, 3)]
    return card(runner, folder / "pi.img", {"autoboot.txt": AUTOBOOT}, *slots)


@pytest.mark.parametrize(
    ("board", "eeprom", "whole", "tryboot", "partition"),
    [
        # Both slots are whole: the flag decides.
        ("pi4", PRESENT, (2, 3), False, 2),
        ("pi4", PRESENT, (2, 3), True, 3),
        ("pi4", BEFORE_WALKS, (2, 3), True, 3),
        ("pi5", PRESENT, (2, 3), True, 3),
        ("qemu-virt", PRESENT, (2, 3), True, 3),
        # An EEPROM before 2022-11-25 passes over the line [tryboot] alone.
        ("pi4", BEFORE_TRIES, (2, 3), False, 3),
        # Slot B is not whole: PARTITION_WALK goes on to slot A, since 2025-08-13 by default.
        ("pi4", PRESENT, (2,), True, 2),
        ("pi5", PRESENT, (2,), True, 2),
        ("qemu-virt", PRESENT, (2,), True, 2),
        # Slot A is not whole.
        ("pi4", PRESENT, (3,), False, 3),
    ],
)
def test_which_partition_a_boot_loader_starts(
    board: str,
    eeprom: datetime.date | None,
    whole: Collection[int],
    tryboot: bool,
    partition: int,
    runner: Runner,
    tmp_path: Path,
) -> None:
    image = pi_card(runner, tmp_path, board, whole)
    files = read_card(image, board_of(board), runner, tryboot=tryboot, eeprom=eeprom)
    assert (files.partition, files.tryboot) == (partition, tryboot)


@pytest.mark.parametrize(
    ("board", "eeprom", "whole", "tryboot", "name"),
    [
        ("pi4", BEFORE_WALKS, (2,), True, "config.txt"),
        ("pi4", BEFORE_WALKS, (3,), False, "config.txt"),
        ("pi5", BEFORE_WALKS, (2,), True, "config.txt"),
        ("pi4", PRESENT, (), True, "config.txt"),
        # It knows neither [tryboot] nor tryboot_a_b, and looks for tryboot.txt.
        ("pi4", BEFORE_TRIES, (2, 3), True, "tryboot.txt"),
    ],
)
def test_what_a_boot_loader_does_not_start(
    board: str,
    eeprom: datetime.date | None,
    whole: Collection[int],
    tryboot: bool,
    name: str,
    runner: Runner,
    tmp_path: Path,
) -> None:
    image = pi_card(runner, tmp_path, board, whole)
    with pytest.raises(PiimageError, match=f"the configuration {name} is missing"):
        read_card(image, board_of(board), runner, tryboot=tryboot, eeprom=eeprom)


def test_a_slot_that_is_started_but_has_no_kernel_is_not_walked_past(
    runner: Runner, tmp_path: Path
) -> None:
    slots = [{**SLOT, **firmware_of("pi4"), "config.txt": CONFIG}, dict(firmware_of("pi4"))]
    image = card(runner, tmp_path / "pi.img", {"autoboot.txt": AUTOBOOT}, *slots)
    with pytest.raises(PiimageError, match=r"config\.txt is missing"):
        read_card(image, board_of("pi4"), runner, tryboot=True)


def test_a_card_that_only_a_walk_would_boot_is_not_bootable(runner: Runner, tmp_path: Path) -> None:
    image = pi_card(runner, tmp_path, "pi4", (3,))
    with pytest.raises(PiimageError, match="with EEPROMs before 2025-08-13"):
        require_bootable(image, board_of("pi4"), runner)


def test_without_autoboot_the_first_partition_is_booted(runner: Runner, tmp_path: Path) -> None:
    assert read(runner, tmp_path, SLOT).partition == 1


def test_without_ab_tryboot_reads_tryboot_txt(runner: Runner, tmp_path: Path) -> None:
    files = {**SLOT, "tryboot.txt": CONFIG + b"cmdline=other.txt\n", "other.txt": b"other"}
    assert read(runner, tmp_path, files, tryboot=True).cmdline == "other"
    assert read(runner, tmp_path, files).cmdline == "console=ttyAMA0 quiet"


def test_a_chain_without_partition_selection_ignores_autoboot(
    runner: Runner, tmp_path: Path
) -> None:
    tree = blob(BASE)
    slot = {**SLOT, "config.txt": CONFIG + DTB, "board.dtb": tree, "autoboot.txt": AUTOBOOT}
    assert read(runner, tmp_path, slot, SLOT, board="pi3").partition == 1


def test_folders_are_selected_by_prefix_and_include(runner: Runner, tmp_path: Path) -> None:
    tree = blob(BASE)
    files = {
        "config.txt": b"[all]\nos_prefix=a/\ninclude a/config.txt\n",
        "tryboot.txt": b"[all]\nos_prefix=b/\ninclude b/config.txt\n",
    }
    for name in ("a", "b"):
        files |= {f"{name}/{path}": content for path, content in SLOT.items()}
        files |= {f"{name}/board.dtb": tree, f"{name}/config.txt": CONFIG + DTB}
        files |= {f"{name}/cmdline.txt": f"piimage.prefix={name}/".encode()}
    booted = read(runner, tmp_path, files, board="zero2w")
    assert (booted.prefix, booted.cmdline) == ("a/", "piimage.prefix=a/")
    assert booted.kernel_path == "a/kernel.img"
    tried = read(runner, tmp_path, files, board="zero2w", tryboot=True)
    assert (tried.prefix, tried.cmdline) == ("b/", "piimage.prefix=b/")


IMAGERS = {
    "cmdline.txt": b" cfg80211.ieee80211_regdom=AT ds=nocloud;i=rpi-imager-1764400000000",
    "meta-data": b"instance-id: rpi-imager-1764400000000\n",
    "user-data": b"#cloud-config\nhostname: shed\n",
    "network-config": b"network:\n  version: 2\n",
}
"""What Raspberry Pi Imager adds to the first partition."""


def test_imagers_command_line_beside_autoboot_changes_no_boot(
    runner: Runner, tmp_path: Path
) -> None:
    tree = blob(BASE)
    slot = {**SLOT, "config.txt": CONFIG + DTB, "board.dtb": tree}
    for board in ("qemu-virt", "pi4"):
        firmware = firmware_of(board)
        image = card(
            runner,
            tmp_path / "card.img",
            {"autoboot.txt": AUTOBOOT, **IMAGERS},
            {**firmware, **slot},
        )
        files = read_card(image, board_of(board), runner)
        assert (files.partition, files.cmdline) == (2, "console=ttyAMA0 quiet")


def test_imagers_command_line_beside_folders_changes_no_boot(
    runner: Runner, tmp_path: Path
) -> None:
    files = {"config.txt": b"[all]\nos_prefix=a/\ninclude a/config.txt\n", **IMAGERS}
    files |= {f"a/{path}": content for path, content in SLOT.items()}
    files |= {"a/board.dtb": blob(BASE), "a/config.txt": CONFIG + DTB}
    for board in ("zero2w", "pi3"):
        assert read(runner, tmp_path, files, board=board).cmdline == "console=ttyAMA0 quiet"


def test_a_prefix_without_a_kernel_is_dropped(runner: Runner, tmp_path: Path) -> None:
    slot = {**SLOT, "config.txt": CONFIG + b"os_prefix=gone/\n"}
    assert read(runner, tmp_path, slot).prefix == ""


def test_overlays_are_applied_in_order(runner: Runner, tmp_path: Path) -> None:
    off = '/dts-v1/; /plugin/; &i2c1 { status = "fail"; };'
    slot = {
        **SLOT,
        "config.txt": CONFIG + DTB + b"dtoverlay=on\ndtoverlay=off\ndtoverlay=on\ndtparam=x=1\n",
        "board.dtb": blob(BASE),
        "overlays/on.dtbo": blob(GOOD),
        "overlays/off.dtbo": blob(off),
    }
    files = read(runner, tmp_path, slot, board="pi4")
    assert files.overlays == ("on", "off", "on")
    assert files.device_tree is not None
    assert prop(runner, files.device_tree, tmp_path, "/soc/i2c@2", "status") == "okay"
    assert "parameter x" in files.remarks[0]


@pytest.mark.parametrize(("readme", "status"), [(True, "okay"), (False, "fail")])
def test_overlays_of_a_prefix_need_a_readme(
    runner: Runner, tmp_path: Path, readme: bool, status: str
) -> None:
    other = '/dts-v1/; /plugin/; &i2c1 { status = "fail"; };'
    files = {f"a/{path}": content for path, content in SLOT.items()} | {
        "config.txt": b"os_prefix=a/\n" + CONFIG + DTB + b"dtoverlay=x\n",
        "a/board.dtb": blob(BASE),
        "a/overlays/x.dtbo": blob(GOOD),
        "overlays/x.dtbo": blob(other),
    }
    if readme:
        files["a/overlays/README"] = b"overlays"
    booted = read(runner, tmp_path, files, board="pi4")
    assert booted.device_tree is not None
    assert prop(runner, booted.device_tree, tmp_path, "/soc/i2c@2", "status") == status


def test_auto_initramfs_finds_the_initramfs(runner: Runner, tmp_path: Path) -> None:
    slot = {
        "config.txt": b"auto_initramfs=1\n",
        "kernel8.img": gzip.compress(KERNEL),
        "initramfs8": b"found",
    }
    files = read(runner, tmp_path, slot)
    assert files.initramfs == b"found"
    assert "no command line" in files.remarks[0]


def test_only_the_first_line_of_the_command_line_counts(runner: Runner, tmp_path: Path) -> None:
    files = read(runner, tmp_path, {**SLOT, "cmdline.txt": b" a b \n\nc\n"})
    assert files.cmdline == "a b"
    assert files.remarks == ("cmdline.txt: only the first line is read",)
    files = read(runner, tmp_path, {**SLOT, "cmdline.txt": b"a\nc\n\n"})
    assert files.remarks == ("cmdline.txt: only the first line is read",)
    assert read(runner, tmp_path, {**SLOT, "cmdline.txt": b"a\n \n\n"}).remarks == ()


REFUSED: tuple[tuple[str, str, dict[str, bytes | None]], ...] = (
    ("firmware.missing-file", "kernel kernel.img", {"kernel.img": None}),
    ("firmware.missing-file", "initramfs initramfs.img", {"initramfs.img": None}),
    ("firmware.missing-file", "config.txt", {"config.txt": None}),
    ("firmware.missing-file", "device tree board.dtb", {"board.dtb": None}),
    ("firmware.missing-file", "overlay overlays/x.dtbo", {"overlays/x.dtbo": None}),
    ("firmware.bad-kernel", "kernel.img", {"kernel.img": b"MZ" + bytes(100)}),
    ("firmware.bad-kernel", "kernel.img", {"kernel.img": b""}),
    ("firmware.kernel-32bit", "arm_64bit=1", {"config.txt": CONFIG + b"arm_64bit=0\n"}),
    ("firmware.bad-device-tree", "damaged", {"board.dtb": b"\xd0\x0d\xfe\xed" + bytes(60)}),
    ("firmware.bad-device-tree", "overlay x", {"overlays/x.dtbo": b"nothing"}),
)


@pytest.mark.provokes("firmware.overlay-refused")
def test_an_overlay_for_another_tree_is_refused(runner: Runner, tmp_path: Path) -> None:
    slot = {
        **SLOT,
        "config.txt": CONFIG + DTB + b"dtoverlay=x\n",
        "board.dtb": blob(BASE),
        "overlays/x.dtbo": blob(FOREIGN),
    }
    with pytest.raises(PiimageError, match="overlay x does not apply") as caught:
        read(runner, tmp_path, slot, board="pi4")
    assert caught.value.code == "firmware.overlay-refused"


@pytest.mark.provokes(
    "firmware.missing-file",
    "firmware.bad-kernel",
    "firmware.kernel-32bit",
    "firmware.bad-device-tree",
)
def test_a_card_that_would_not_boot_is_refused(runner: Runner, tmp_path: Path) -> None:
    complete: dict[str, bytes] = {
        **SLOT,
        "config.txt": CONFIG + DTB + b"dtoverlay=x\n",
        "board.dtb": blob(BASE),
        "overlays/x.dtbo": blob(GOOD),
    }
    for code, message, changes in REFUSED:
        slot = {name: text for name, text in complete.items() if name not in changes}
        slot |= {name: text for name, text in changes.items() if text is not None}
        with pytest.raises(PiimageError) as caught:
            read(runner, tmp_path, slot, board="pi4")
        assert (caught.value.code, message in str(caught.value)) == (code, True), changes
        assert "partition 1" in str(caught.value.place)


@pytest.mark.provokes("firmware.kernel-32bit")
def test_a_pi_3_starts_in_32_bit_mode_by_default(runner: Runner, tmp_path: Path) -> None:
    with pytest.raises(PiimageError, match="arm_64bit=1"):
        read(runner, tmp_path, {**SLOT, "config.txt": b"kernel=kernel.img\n" + DTB}, board="pi3")


@pytest.mark.provokes("firmware.no-boot-partition", "firmware.autoboot-too-long")
@pytest.mark.parametrize(
    ("autoboot", "code"),
    [
        (b"boot_partition=4\n", "firmware.no-boot-partition"),
        (b"boot_partition=99999999999999999999\n", "firmware.no-boot-partition"),
        (AUTOBOOT + b"#" * 500, "firmware.autoboot-too-long"),
    ],
)
def test_an_invalid_autoboot_is_refused(
    runner: Runner, tmp_path: Path, autoboot: bytes, code: str
) -> None:
    # Both codes, because the mark of each case names both.
    for text in (b"boot_partition=4\n", AUTOBOOT + b"#" * 500):
        with pytest.raises(PiimageError):
            read(runner, tmp_path, {"autoboot.txt": text}, SLOT)
    with pytest.raises(PiimageError) as caught:
        read(runner, tmp_path, {"autoboot.txt": autoboot}, SLOT)
    assert caught.value.code == code


@pytest.mark.provokes("firmware.no-image")
def test_an_image_that_cannot_be_read_is_refused(runner: Runner, tmp_path: Path) -> None:
    (tmp_path / "empty").touch()
    for path in (tmp_path / "absent.img", tmp_path, tmp_path / "empty"):
        with pytest.raises(PiimageError) as caught:
            read_card(path, load_board("pi4"), runner)
        assert caught.value.code == "firmware.no-image"


@pytest.mark.provokes("firmware.no-boot-partition")
def test_a_card_without_fat_is_refused(runner: Runner, tmp_path: Path) -> None:
    image = card(runner, tmp_path / "card.img", SLOT)
    data = bytearray(image.read_bytes())
    data[446 + 4] = 0x83
    image.write_bytes(data)
    with pytest.raises(PiimageError, match="no FAT"):
        read_card(image, load_board("pi4"), runner)


def test_the_manifest_is_found_in_each_layout(runner: Runner, tmp_path: Path) -> None:
    selector = card(runner, tmp_path / "1.img", {"x": b""}, {"appliance.json": b"{}"})
    assert find_manifest(selector) == b"{}"
    folders = card(runner, tmp_path / "2.img", {"b/appliance.json": b"[]"})
    assert find_manifest(folders) == b"[]"
    assert find_manifest(card(runner, tmp_path / "3.img", {"x": b""})) is None


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Path:
    runner = Runner()
    folder = tmp_path_factory.mktemp("card")
    return card(runner, folder / "card.img", {"autoboot.txt": AUTOBOOT}, SLOT, SLOT)


@settings(
    max_examples=examples(60),
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(st.data())
def test_a_damaged_card_boots_or_is_refused(sound: Path, data: st.DataObject) -> None:
    places = st.one_of(*(st.integers(start, start + 0x3000) for start in (0, 1 << 20, 5 << 20)))
    changes = data.draw(st.lists(st.tuples(places, st.binary(min_size=1, max_size=4)), max_size=6))
    with sound.open("r+b", buffering=0) as file:
        undo = []
        for at, change in changes:
            file.seek(at)
            undo.append((at, file.read(len(change))))
            file.seek(at)
            file.write(change)
        try:
            read_card(sound, load_board("qemu-virt"), Runner())
        except PiimageError as error:
            assert error.code.startswith(("firmware.", "card."))
        finally:
            for at, content in reversed(undo):
                file.seek(at)
                file.write(content)


@settings(max_examples=examples(40), deadline=None)
@given(st.binary(max_size=1500))
def test_random_bytes_are_not_a_card(data: bytes) -> None:
    import tempfile

    with tempfile.NamedTemporaryFile() as file:
        file.write(data)
        file.flush()
        with pytest.raises(PiimageError), open_card(Path(file.name)) as opened:
            opened.fat(opened.fat_numbers[0])


@pytest.mark.provokes("firmware.autoboot-too-long")
def test_an_autoboot_of_512_bytes_is_read_and_one_more_is_not(
    runner: Runner, tmp_path: Path
) -> None:
    """Raspberry Pi's documentation, "autoboot.txt": limited to 512 bytes."""
    longest = AUTOBOOT + b"#" * (511 - len(AUTOBOOT)) + b"\n"
    assert len(longest) == 512
    assert read(runner, tmp_path, {"autoboot.txt": longest}, SLOT)
    with pytest.raises(PiimageError) as caught:
        read(runner, tmp_path, {"autoboot.txt": longest + b"\n"}, SLOT)
    assert caught.value.code == "firmware.autoboot-too-long"
