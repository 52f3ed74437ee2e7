"""The initramfs's script: slot, growth of the data partition, choice of the containers layer."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.programs.appliance.scripts import Pi


@pytest.fixture
def pi(tmp_path: Path) -> Pi:
    return Pi(tmp_path)


@pytest.mark.parametrize(
    ("disk", "number", "expected"),
    [
        ("/dev/vda", 4, "/dev/vda4"),
        ("/dev/mmcblk0", 2, "/dev/mmcblk0p2"),
        ("/dev/nvme0n1", 1, "/dev/nvme0n1p1"),
        ("sda", 3, "sda3"),
    ],
)
def test_partitions_of_disks_whose_names_end_in_a_digit_take_a_p(
    pi: Pi, disk: str, number: int, expected: str
) -> None:
    init = pi.initramfs_functions()
    assert pi.sh(f'. {init}; partition_of {disk} {number}; echo "$REPLY"').strip() == expected


@pytest.mark.parametrize("number", [0, 2, 3, 0x01020304])
def test_the_boot_loaders_partition_is_read_as_big_endian(pi: Pi, number: int) -> None:
    init = pi.initramfs_functions()
    cell = pi.path("partition")
    cell.write_bytes(struct.pack(">I", number))
    assert pi.sh(f'. {init}; device_tree_number {cell}; echo "$REPLY"').strip() == str(number)


@pytest.mark.parametrize(("cell", "fact"), [(None, "0"), (0, "0"), (1, "1"), (2, "1")])
def test_the_facts_tell_whether_the_boot_loader_tries_the_slot(
    pi: Pi, cell: int | None, fact: str
) -> None:
    init = pi.initramfs_functions()
    init.write_text(init.read_text().replace("/proc/device-tree", f"{pi.root}/device-tree"))
    if cell is not None:
        pi.path("device-tree/chosen/bootloader/tryboot").write_bytes(struct.pack(">I", cell))
    pi.path("run/piimage/boot")
    pi.sh(f". {init}; load_settings; notice_trial; leave_facts")
    assert f"PIIMAGE_TRYBOOT='{fact}'" in pi.path("run/piimage/boot").read_text().splitlines()


def test_a_property_that_is_not_there_or_too_short_says_nothing(pi: Pi) -> None:
    init = pi.initramfs_functions()
    pi.path("short").write_bytes(b"\0\2")
    for name in ("missing", "short"):
        script = f'. {init}; device_tree_number {pi.path(name)}; echo "[$REPLY]"'
        assert pi.sh(script).strip() == "[]"


@pytest.mark.parametrize("source", ["initramfs_functions", "install_library"])
def test_what_is_said_on_the_console_is_on_the_screen_if_there_is_one(pi: Pi, source: str) -> None:
    script = getattr(pi, source)()
    pi.path("dev/tty0").touch()
    pi.path("dev/console").touch()
    pi.sh(f". {script}; say no screen")
    assert pi.path("dev/tty0").read_text() == ""
    pi.write("sys/class/graphics/fb0", "")
    pi.write("sys/class/tty/console/active", "tty0 ttyAMA0\n")
    pi.sh(f". {script}; phase switch-root")
    assert pi.path("dev/tty0").read_text() == "piimage: phase switch-root\n"
    assert pi.console() == ["piimage: no screen", "piimage: phase switch-root"]


@pytest.mark.parametrize("source", ["initramfs_functions", "install_library"])
@pytest.mark.parametrize("active", ["tty62\n", "ttyAMA0\n", None])
def test_a_screen_that_the_kernel_tells_nothing_is_told_nothing(
    pi: Pi, source: str, active: str | None
) -> None:
    script = getattr(pi, source)()
    pi.path("dev/tty0").touch()
    pi.write("sys/class/graphics/fb0", "")
    if active is not None:
        pi.write("sys/class/tty/console/active", active)
    pi.sh(f". {script}; say hello")
    assert pi.path("dev/tty0").read_text() == ""


@pytest.mark.parametrize(("watchdog", "leads"), [("watchdog0", "watchdog0"), ("", None)])
def test_process_1_is_shown_the_boards_watchdog_alone(
    pi: Pi, watchdog: str, leads: str | None
) -> None:
    init = pi.initramfs_functions()
    pi.path("dev/watchdog").touch()  # the kernel's name for the first that it found
    pi.sh(f". {init}; WATCHDOG={watchdog}; choose_watchdog")
    found = pi.path("dev/watchdog")
    assert (str(found.readlink()) if found.is_symlink() else None) == leads
    assert found.is_symlink() or not found.exists()


def _grow(pi: Pi, disk_sectors: int, start: int, sectors: int, extra: str = "") -> tuple[int, int]:
    """Run the growth on an MBR whose entry 4 is `start`, `sectors`; return that entry after it."""
    init = pi.initramfs_functions()
    text = init.read_text().replace("/sys/class/block", f"{pi.root}/sys/class/block")
    init.write_text(text)
    disk = pi.path("dev/vda")
    entry = struct.pack("<4x B 3x I I", 0x83, start, sectors)
    disk.write_bytes(bytes(446) + bytes(48) + entry + b"\x55\xaa" + b"beyond")
    pi.write("sys/class/block/vda/size", f"{disk_sectors}\n")
    pi.write("sys/class/block/vda4/start", f"{start}\n")
    pi.write("sys/class/block/vda4/size", f"{sectors}\n")
    # Paths below /sys are by the disk's name, as the script takes it off /dev/.
    pi.sh(
        f". {init}; load_settings; {extra} SLOT_DISK={disk}; SLOT_PARTITION=2;"
        " find_disk() { :; };"
        f' eval "$(sed -n "/^grow_data_partition/,/^}}/p" {init} | sed "s,#/dev/,##*/,g")";'
        " grow_data_partition"
    )
    data = disk.read_bytes()
    assert data[510:] == b"\x55\xaabeyond"
    assert data[:494] == bytes(494)
    kept, low, high = data[494:502], *struct.unpack("<II", data[502:510])
    assert kept == entry[:8]
    return low, high


def test_the_data_partition_grows_to_the_end_of_the_disk(pi: Pi) -> None:
    assert _grow(pi, 0x7654321, 534528, 65536) == (534528, 0x7654321 - 534528)


def test_a_partition_that_ends_within_a_mebibyte_of_the_end_is_left_alone(pi: Pi) -> None:
    assert _grow(pi, 600000, 534528, 600000 - 534528 - 2047) == (534528, 600000 - 534528 - 2047)


def test_growth_stops_at_what_an_mbr_can_say(pi: Pi) -> None:
    assert _grow(pi, 1 << 33, 534528, 65536) == (534528, 0xFFFFFFFF)


def test_a_data_partition_of_fixed_size_is_left_alone(pi: Pi) -> None:
    assert _grow(pi, 0x7654321, 534528, 65536, extra="GROW=0;") == (534528, 65536)


def _choose(pi: Pi, generations: dict[str, dict[str, str]], links: dict[str, str]) -> list[str]:
    """Return the chosen containers layer and where it comes from."""
    init = pi.initramfs_functions()
    init.write_text(init.read_text().replace("ROOT=/root", f"ROOT={pi.root}/root"))
    store = "root/data/piimage"
    for name, files in generations.items():
        for file, text in files.items():
            pi.write(f"{store}/generations/{name}/{file}", text)
    for link, name in links.items():
        pi.path(f"{store}/{link}.aaa").symlink_to(f"generations/{name}")
    pi.write("etc/piimage/containers-layer", "aaa\n")
    pi.path("run/piimage/layers/x").touch()
    for layer in ("bbb", "ccc"):
        pi.write(f"{store}/layers/{layer}.squashfs", "")
    out = pi.sh(
        f'. {init}; SLOT={pi.root}/slot; mount_layer() {{ [ "$1" = aaa ] || layer_file "$1"; }};'
        ' choose_containers; echo "$CONTAINERS $CONTAINERS_FROM"'
    )
    return out.split()


GOOD = {"containers": "bbb\n", "base": "aaa\n", "good": ""}


def test_without_a_deploy_the_slots_own_containers_run(pi: Pi) -> None:
    assert _choose(pi, {}, {}) == ["aaa", "slot"]


def test_a_good_generation_is_preferred(pi: Pi) -> None:
    assert _choose(pi, {"g1": GOOD}, {"current": "g1"}) == ["bbb", "current"]


def test_a_generation_that_was_never_found_good_gives_way_to_the_one_before(pi: Pi) -> None:
    bad = {"containers": "ccc\n", "base": "aaa\n"}
    chosen = _choose(pi, {"g1": GOOD, "g2": bad}, {"current": "g2", "previous": "g1"})
    assert chosen == ["bbb", "previous"]


def test_a_generation_for_another_slots_containers_is_left_alone(pi: Pi) -> None:
    assert _choose(pi, {"g1": {**GOOD, "base": "fff\n"}}, {"current": "g1"}) == ["aaa", "slot"]


def test_a_generation_whose_layer_is_gone_is_left_alone_and_named(pi: Pi) -> None:
    chosen = _choose(pi, {"g1": {**GOOD, "containers": "ddd\n"}}, {"current": "g1"})
    assert chosen == ["aaa", "slot"]
    assert any("layer ddd is missing" in line for line in pi.console())


def test_a_generation_that_names_no_digest_is_left_alone(pi: Pi) -> None:
    """What it names would be a value in a file that every script reads."""
    layer = "b'$(touch x)'"
    pi.write(f"root/data/piimage/layers/{layer}.squashfs", "")
    chosen = _choose(pi, {"g1": {**GOOD, "containers": f"{layer}\n"}}, {"current": "g1"})
    assert chosen == ["aaa", "slot"]


def test_the_slots_choice_reaches_the_rest_of_the_system_as_a_link(pi: Pi) -> None:
    _choose(pi, {"g1": GOOD}, {"current": "g1"})
    assert (pi.root / "run/piimage/containers").readlink() == Path("layers/bbb")


def _mount_data(pi: Pi, disk: str) -> list[str]:
    """Run the mounting of /data, where nothing can be mounted; return what the console shows."""
    init = pi.initramfs_functions()
    pi.path("run/piimage/x")
    pi.sh(f". {init}; load_settings; bb() {{ [ $1 = mount ]; }}; SLOT_DISK={disk}; mount_data")
    assert pi.path("run/piimage/data-is-temporary").exists()
    # Absolute paths are led into the folder, also those in messages.
    return [line.replace(str(pi.root), "") for line in pi.console()]


def test_an_image_without_a_disk_has_lost_nothing(pi: Pi) -> None:
    assert _mount_data(pi, "''") == ["piimage: /data is temporary: this image has no disk"]


def test_a_data_partition_that_is_missing_is_named(pi: Pi) -> None:
    told = "piimage: DATA LOST: /nowhere/mmcblk7p4 does not exist; /data is temporary"
    assert _mount_data(pi, "/nowhere/mmcblk7") == [told]


def test_what_a_new_data_partition_has_is_in_the_temporary_one(pi: Pi) -> None:
    """With its modes: a host key is there for root alone."""
    init = pi.initramfs_functions()
    pi.write("run/piimage/slot/data/ssh/key", "private").chmod(0o600)
    pi.path("root/data/x")
    stub = 'bb() { [ $1 = mount ] || "$@"; }'
    pi.sh(f". {init}; load_settings; {stub}; ROOT={pi.root}/root; SLOT=$STATE/slot; mount_data")
    found = pi.path("root/data/ssh/key")
    assert (found.read_text(), found.stat().st_mode & 0o777) == ("private", 0o600)
    assert list((pi.root / "run/piimage/slot/data").iterdir()) == []


@dataclass(frozen=True)
class Disk:
    """A made-up disk with a second partition: its name, where sysfs has it, and its MBR's id."""

    name: str
    home: str
    number: int


ID = 0x1234ABCD
CARD = Disk("mmcblk0", "platform/soc/3f202000.mmc/mmc_host/mmc0/mmc0:4567", ID)
SSD = Disk("sda", "platform/scb/fd500000.pcie/0000:01:00.0/usb2/2-1/2-1:1.0/host0", ID)
NVME = Disk("nvme0n1", "platform/scb/fd500000.pcie/0000:01:00.0/nvme/nvme0", ID)
FOREIGN = Disk("sda", SSD.home, 0x99999999)


def _find(pi: Pi, at_once: tuple[Disk, ...], late: tuple[Disk, ...], mode: int | None) -> list[str]:
    """Return the slot's device, or ``none``, and after how many tenths of a second.

    `late` are the disks that appear once the modules of other disks are loaded. Files stand for
    device files, and no time passes.
    """
    init = pi.initramfs_functions()
    text = init.read_text().replace("[ -b ", "[ -e ")
    for place in ("/sys/", "/proc/", "/dev/$"):
        text = text.replace(place, f"{pi.root}{place}")
    init.write_text(text)
    for folder in ("sys/block", "late"):
        pi.path(f"{folder}/none")
    for disk in (*at_once, *late):
        folder = "sys/block" if disk in at_once else "late"
        pi.path(f"{folder}/{disk.name}").symlink_to(f"../devices/{disk.home}/block/{disk.name}")
        pi.path(f"dev/{disk.name}").write_bytes(bytes(440) + struct.pack("<I", disk.number))
        pi.path(f"dev/{disk.name}{'p' if disk.name[-1].isdigit() else ''}2").touch()
    if mode is not None:
        pi.path("proc/device-tree/chosen/bootloader/boot-mode").write_bytes(struct.pack(">I", mode))
    out = pi.sh(
        f". {init}; load_settings; SLOT_PARTITION=2; DISK_ID={ID:08x};"
        ' bb() { [ "$1" = usleep ] || busybox "$@"; };'
        f' load_modules() {{ [ "$1" = modules ] || mv {pi.root}/late/* {pi.root}/sys/block; }};'
        " choose_kind; load_modules modules; load_modules_for_kind;"
        ' find_disk || SLOT_DEVICE=none; echo "$SLOT_DEVICE $WAITED"'
    )
    return out.replace(str(pi.root), "").split()


@pytest.mark.parametrize(
    ("mode", "device"),
    [(1, "/dev/mmcblk0p2"), (4, "/dev/sda2"), (5, "/dev/sda2"), (6, "/dev/nvme0n1p2")],
)
def test_of_disks_with_the_same_content_the_one_that_was_booted_is_taken(
    pi: Pi, mode: int, device: str
) -> None:
    assert _find(pi, (CARD, SSD, NVME), (), mode) == [device, "0"]


@pytest.mark.parametrize(("mode", "disk"), [(4, SSD), (6, NVME)])
def test_the_modules_of_other_disks_are_loaded_at_once_if_one_was_booted(
    pi: Pi, mode: int, disk: Disk
) -> None:
    assert _find(pi, (CARD,), (disk,), mode)[1] == "0"


@pytest.mark.parametrize("disk", [SSD, NVME])
def test_without_a_word_of_the_boot_loader_they_are_loaded_when_the_card_is_late(
    pi: Pi, disk: Disk
) -> None:
    device, tenths = _find(pi, (), (disk,), None)
    assert device.startswith(f"/dev/{disk.name}")
    assert int(tenths) == 21


def test_a_card_that_is_there_loads_nothing_more(pi: Pi) -> None:
    assert _find(pi, (CARD,), (SSD,), None) == ["/dev/mmcblk0p2", "0"]
    assert pi.path("late/sda").is_symlink()


def test_a_foreign_disk_that_has_the_partition_is_not_taken(pi: Pi) -> None:
    assert _find(pi, (FOREIGN, NVME), (), None)[0] == "/dev/nvme0n1p2"


def test_a_foreign_disk_alone_is_not_taken_even_if_its_kind_was_booted(pi: Pi) -> None:
    assert _find(pi, (FOREIGN,), (), 4)[0] == "none"


def test_a_boot_loader_that_names_the_wrong_kind_costs_ten_seconds(pi: Pi) -> None:
    assert _find(pi, (NVME,), (), 4) == ["/dev/nvme0n1p2", "100"]


@pytest.mark.parametrize(
    ("line", "module", "expected"),
    [
        ("usb-storage.quirks=152d:0578:u", "usb-storage.ko", "quirks=152d:0578:u"),
        ("usb_storage.quirks=152d:0578:u", "usb-storage.ko", "quirks=152d:0578:u"),
        ("usb-storage.quirks=x usb-storage.delay_use=3", "usb_storage.ko", "quirks=x delay_use=3"),
        ("usb-storage.quirks=x", "uas.ko", ""),
        ("quiet loglevel=3 cryptomgr.notests", "cryptomgr.ko", ""),
        ("a.b=1.2=3 *.c=1", "a.ko", "b=1.2=3"),
    ],
)
def test_a_module_is_given_what_the_command_line_says_for_it(
    pi: Pi, line: str, module: str, expected: str
) -> None:
    init = pi.initramfs_functions()
    cmdline = pi.write("cmdline", f"console=ttyAMA0 {line} piimage.disk-id=00000001\n")
    init.write_text(init.read_text().replace("/proc/cmdline", str(cmdline)))
    script = f". {init}; load_settings; read_command_line; parameters_of /usr/lib/modules/{module}"
    assert pi.sh(f'{script}; echo "$DISK_ID" $REPLY').split() == ["00000001", *expected.split()]
