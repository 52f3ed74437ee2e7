"""Disks under LVM, LUKS and RAID, and a table that was written: what a real kernel says of them.

The host's kernel may have neither device mapper nor md nor partitions; user-mode Linux has them,
and its root is the host's, so the code under test runs there.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

# dmsetup's uuid says whose volume it is: LVM and cryptsetup set it in this form.
INIT = """#!/bin/sh
export PATH=/usr/sbin:/usr/bin:/sbin:/bin
mount -t proc proc /proc; mount -t sysfs sys /sys; mount -t tmpfs run /run
mount -t devtmpfs dev /dev
exec 2>PLACE/errors
mkdir -p /run/modules/lib && ln -s /usr/lib/uml/modules /run/modules/lib/modules
modprobe -d /run/modules -a dm-mod md-mod raid1
echo '0 16384 linear /dev/ubda 0' | dmsetup create --noudevsync --uuid LVM-one2345 vg0-home
# dm-crypt does not load in this kernel; sysfs shows the uuid and never the target.
echo '0 16384 linear /dev/ubdb 0' | dmsetup create --noudevsync --uuid CRYPT-LUKS2-abc-x secret
echo md_test >/sys/module/md_mod/parameters/new_array
cd /sys/block/md_test/md
echo none >metadata_version; echo raid1 >level; echo 2 >raid_disks; echo 8192 >component_size
cat /sys/block/ubdc/dev >new_dev; echo 0 >dev-ubdc/slot
cd /
exec >PLACE/answer
PYTHON -c '
import json
from piimage.flash import guard
from piimage.flash.sysfs import System
system = System()
for name in ("ubda", "ubdb", "ubdc", "ubdd"):
    found = guard.refusals(system.disk(name), system)
    print(json.dumps([name, [(one.code, one.reason) for one in found if not one.forcible]]))

from pathlib import Path
from piimage.card import partitions
from piimage.flash import blockdev, medium
number = Path("/dev/ubdd").stat().st_rdev
table = partitions.Table(1, {1: partitions.Partition(partitions.FAT, 1 << 20, 1 << 20)})
with medium.opened("/dev/ubdd", number, None) as card:
    data = medium.buffer(4096)
    data[:512] = partitions.encode(table)
    card.write(0, data)
    known = [list(system.disk("ubdd").partitions)]
    assert blockdev.reread_table(card.descriptor)
    print(json.dumps(["table", [*known, list(system.disk("ubdd").partitions)]]))
'
sync
echo o >/proc/sysrq-trigger
sleep 60
"""


@pytest.fixture(scope="module")
def said(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[list[str]]]:
    folder = tmp_path_factory.mktemp("stacked")
    for name in "abcd":
        with (folder / name).open("wb") as file:
            file.truncate(16 << 20)
    init = folder / "init"
    python = f"PYTHONPATH='{':'.join(filter(None, sys.path))}' '{sys.executable}'"
    init.write_text(INIT.replace("PLACE", str(folder)).replace("PYTHON", python, 1))
    init.chmod(0o755)
    disks = [f"ubd{name}={folder / name}" for name in "abcd"]
    root = ["root=/dev/root", "rootfstype=hostfs", "rootflags=/", "rw", f"init={init}"]
    console = ["con=null", "con0=null,fd:1", "quiet", f"uml_dir={folder}"]
    done = subprocess.run(
        ["linux.uml", "mem=256M", *disks, *root, *console],
        capture_output=True, text=True, timeout=120, check=False, stdin=subprocess.DEVNULL,
        env={**os.environ, "TMPDIR": "/tmp"},  # the guest's memory
    )  # fmt: skip
    answer = folder / "answer"
    errors = folder / "errors"
    text = answer.read_text() if answer.exists() else ""
    assert text, (done.stdout[-3000:], errors.read_text() if errors.exists() else "")
    return dict(json.loads(line) for line in text.splitlines())


def test_a_disk_with_a_logical_volume_is_refused(said: dict[str, list[list[str]]]) -> None:
    assert said["ubda"] == [["flash.in-use", "ubda is part of the LVM volume vg0-home"]]


def test_a_disk_with_an_open_luks_volume_is_refused(said: dict[str, list[list[str]]]) -> None:
    assert said["ubdb"] == [["flash.in-use", "ubdb is part of the LUKS volume secret"]]


def test_a_disk_of_a_raid_array_is_refused(said: dict[str, list[list[str]]]) -> None:
    assert said["ubdc"] == [["flash.in-use", "ubdc is part of the RAID array md_test (raid1)"]]


def test_a_disk_under_nothing_is_not(said: dict[str, list[list[str]]]) -> None:
    assert said["ubdd"] == []


def test_the_kernel_learns_of_the_partitions_that_were_written(
    said: dict[str, list[list[str]]],
) -> None:
    assert said["table"] == [[], ["ubdd1"]]
