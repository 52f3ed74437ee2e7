"""How the disks of `disks:` are mounted when they come, and unmounted when they go."""

from __future__ import annotations

import shlex
import subprocess
from pathlib import Path

import pytest

from tests.programs.appliance.scripts import Pi, end, environment, wait_until

LIST = "music rw MUSIC\nnotes ro Notes of mine\n"
# Stands for the kernel and blkid: `tags` has a line DEVICE TAG VALUE for each value.
SYSTEM = """
mount() { command echo "mount $*" >>ROOT/done; ! grep -qx "$5" ROOT/broken 2>/dev/null; }
umount() { command echo "umount $*" >>ROOT/done; }
blkid() { sed -n "s!^$6 $5 !!p" ROOT/tags; }
"""


class Slots:
    """The program's functions, with the Pi's paths led into a folder."""

    def __init__(self, folder: Path) -> None:
        self.pi = Pi(folder)
        self.pi.install_library()
        self.script = self.pi.install_functions("disks")
        text = self.script.read_text().replace("BLOCKS=/sys/block", f"BLOCKS={folder}/sys/block")
        self.script.write_text(text)
        self.pi.write("etc/piimage/disks", LIST)
        self.pi.write("tags", "")
        self.plug("mmcblk0", "mmcblk0p1")
        self.plug("loop0")

    def plug(self, disk: str, *partitions: str, number: int = 1) -> None:
        self.pi.write(f"sys/block/{disk}/diskseq", f"{number}\n")
        for name in partitions:
            self.pi.write(f"sys/block/{disk}/{name}/partition", "1\n")

    def tag(self, device: str, kind: str, label: str = "") -> None:
        lines = f"/dev/{device} TYPE {kind}\n" + (f"/dev/{device} LABEL {label}\n" if label else "")
        path = self.pi.root / "tags"
        path.write_text(path.read_text() + lines)

    def looks(self, *between: str) -> None:
        """Look once, and again after each line of shell."""
        system = SYSTEM.replace("ROOT", str(self.pi.root))
        script = "; look; ".join(between)
        self.pi.sh(f". {self.script}; {system} OWN=mmcblk0; look; {script or ':'}; look")

    def done(self) -> list[str]:
        """What was mounted and unmounted."""
        path = self.pi.root / "done"
        return path.read_text().splitlines() if path.exists() else []

    def remove(self, disk: str) -> str:
        return f"rm -r {shlex.quote(str(self.pi.root / 'sys/block' / disk))}"


@pytest.fixture
def slots(tmp_path: Path) -> Slots:
    return Slots(tmp_path)


def test_a_partition_is_mounted_by_its_label_with_what_the_list_says(slots: Slots) -> None:
    slots.plug("sda", "sda1", "sda2")
    slots.tag("sda1", "vfat", "OTHER")
    slots.tag("sda2", "ext3", "Notes of mine")
    slots.looks()
    assert slots.done() == [
        "mount -t ext4 -o ro,nosuid,nodev,noexec,noatime /dev/sda2 /media/notes"
    ]
    assert slots.pi.console() == [
        "piimage: disk notes: /dev/sda2 (ext4) is mounted at /media/notes"
    ]


@pytest.mark.parametrize(
    ("kind", "own"), [("vfat", ",umask=000,utf8=1,flush"), ("exfat", ",umask=000"), ("ext4", "")]
)
def test_every_container_may_use_a_file_system_without_owners(
    kind: str, own: str, slots: Slots
) -> None:
    slots.plug("sda")
    slots.tag("sda", kind, "MUSIC")
    slots.looks()
    options = f"rw,nosuid,nodev,noexec,noatime{own}"
    assert slots.done() == [f"mount -t {kind} -o {options} /dev/sda /media/music"]


def test_a_disk_that_goes_is_unmounted_and_one_that_comes_is_mounted(slots: Slots) -> None:
    slots.tag("sdb1", "exfat", "MUSIC")
    folder = slots.pi.root / "sys/block/sdb"
    plug = f"mkdir -p {folder}/sdb1; echo {{}} >{folder}/diskseq"
    slots.looks(plug.format(4), slots.remove("sdb"), plug.format(5))
    assert [line.partition(" -o")[0] for line in slots.done()] == [
        "mount -t exfat", "umount -l /media/music", "mount -t exfat",
    ]  # fmt: skip
    assert slots.pi.console()[1] == "piimage: disk music: unplugged"


def test_a_disk_that_was_exchanged_between_two_looks_is_noticed(slots: Slots) -> None:
    slots.plug("sda", "sda1", number=4)
    slots.tag("sda1", "vfat", "MUSIC")
    slots.looks(f"echo 5 >{slots.pi.root}/sys/block/sda/diskseq")
    assert [line.split()[0] for line in slots.done()] == ["mount", "umount", "mount"]


def test_disks_without_a_wanted_label_and_the_systems_own_are_left_alone(slots: Slots) -> None:
    slots.plug("sda", "sda1")
    slots.tag("sda1", "vfat", "MUSIC2")
    slots.tag("mmcblk0p1", "vfat", "MUSIC")
    slots.tag("loop0", "vfat", "MUSIC")
    slots.looks()
    assert (slots.done(), slots.pi.console()) == ([], [])


def test_of_two_disks_with_one_label_the_second_is_not_used(slots: Slots) -> None:
    slots.plug("sda")
    slots.plug("sdb")
    for name in ("sda", "sdb"):
        slots.tag(name, "vfat", "MUSIC")
    slots.looks()
    assert len(slots.done()) == 1
    assert slots.pi.console()[1:] == [
        "piimage: disk music: /dev/sdb has the same label, and is not used"
    ]


def test_a_file_system_that_cannot_be_mounted_is_told(slots: Slots) -> None:
    slots.plug("sda")
    slots.plug("sdb")
    slots.tag("sda", "ntfs", "MUSIC")
    slots.tag("sdb", "ext4", "Notes of mine")
    slots.pi.write("broken", "/dev/sdb\n")
    slots.looks()
    assert slots.pi.console() == [
        "piimage: disk music: /dev/sda has a file system that is not supported: ntfs",
        "piimage: disk notes: /dev/sdb (ext4) cannot be mounted",
    ]


def test_the_program_begins_anew_after_an_earlier_run(slots: Slots) -> None:
    system = SYSTEM.replace("ROOT", str(slots.pi.root))
    only = 'is_mounted() { [ "$1" = /media/notes ]; }'
    slots.pi.sh(f". {slots.script}; {system} {only}; release_all")
    assert slots.done() == ["umount -l /media/notes"]


def test_the_program_goes_on_looking(slots: Slots) -> None:
    script = slots.pi.install("disks")
    text = script.read_text().replace("BLOCKS=/sys/block", f"BLOCKS={slots.pi.root}/sys/block")
    script.write_text(text)
    slots.pi.write("run/piimage/boot", "PIIMAGE_DISK='/dev/mmcblk0'\n")
    slots.pi.program("blkid", "case $5 in LABEL) echo MUSIC ;; *) echo vfat ;; esac")
    process = subprocess.Popen(["busybox", "sh", script], env=environment())
    try:
        slots.plug("sda")
        wait_until(lambda: "is mounted" in "".join(slots.pi.console()), "the stick")
    finally:
        end(process)
