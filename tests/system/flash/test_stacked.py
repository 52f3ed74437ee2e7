"""Disks under LVM, LUKS and RAID, and a table that was written: what a real kernel says of them.

The host's kernel may have neither device mapper nor md nor partitions; the plugin's guests have
them, and their root is the host's, so the code under test runs there.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from typing import Any

import pytest
from chipmodels.testing.channel import ChannelClosed
from chipmodels.testing.engine import Engine
from chipmodels.testing.engines import named
from chipmodels.testing.machine import Machine

from tests.system.guests import engines

SECONDS = 180
MIB = 256

# dmsetup's uuid says whose volume it is: LVM and cryptsetup set it in this form.
INIT = """#!/bin/sh
export PATH=/usr/sbin:/usr/bin:/sbin:/bin
mount -t proc proc /proc; mount -t sysfs sys /sys; mount -t tmpfs run /run
mkdir -p /run/modules/lib && ln -s MODULES /run/modules/lib/modules
modprobe -d /run/modules -a dm-mod md-mod raid1
echo '0 16384 linear /dev/DISK_A 0' | dmsetup create --noudevsync --uuid LVM-one2345 vg0-home
# dm-crypt does not load in this kernel; sysfs shows the uuid and never the target.
echo '0 16384 linear /dev/DISK_B 0' | dmsetup create --noudevsync --uuid CRYPT-LUKS2-abc-x secret
echo md_test >/sys/module/md_mod/parameters/new_array
cd /sys/block/md_test/md
echo none >metadata_version; echo raid1 >level; echo 2 >raid_disks; echo 8192 >component_size
cat /sys/block/DISK_C/dev >new_dev; echo 0 >dev-DISK_C/slot
cd /
exec >LINE
PYTHON - <<'END'
import json
from piimage.flash import guard
from piimage.flash.sysfs import System
system = System()
for name in ("DISK_A", "DISK_B", "DISK_C", "DISK_D"):
    found = guard.refusals(system.disk(name), system)
    final = [(refusal.code, refusal.reason) for refusal in found if not refusal.forcible]
    print(json.dumps({name: final}))

from pathlib import Path
from piimage.card import partitions
from piimage.flash import blockdev, medium
number = Path("/dev/DISK_D").stat().st_rdev
table = partitions.Table(1, {1: partitions.Partition(partitions.FAT, 1 << 20, 1 << 20)})
with medium.opened("/dev/DISK_D", number, None) as card:
    data = medium.buffer(4096)
    data[:512] = partitions.encode(table)
    card.write(0, data)
    known = [list(system.disk("DISK_D").partitions)]
    assert blockdev.reread_table(card.descriptor)
    print(json.dumps({"table": [*known, list(system.disk("DISK_D").partitions)]}))
print(json.dumps({"end": True}))
END
echo o >/proc/sysrq-trigger
sleep 60
"""


@dataclass(frozen=True)
class Refusals:
    """What the code under test said in the guest, by disk, and how the guest names its disks."""

    engine: Engine
    answers: dict[str, Any]

    def disk(self, index: int) -> str:
        return self.engine.disk(index)

    def of(self, index: int) -> list[list[str]]:
        found: list[list[str]] = self.answers[self.disk(index)]
        return found


@pytest.fixture(scope="module", params=engines())
def refusals(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Refusals:
    engine = named(request.param)
    folder = tmp_path_factory.mktemp("stacked")
    disks = [folder / name for name in "abcd"]
    for disk in disks:
        with disk.open("wb") as file:
            file.truncate(16 << 20)
    init = folder / "init"
    init.write_text(script(engine))
    init.chmod(0o755)
    with closing(Machine(engine, folder, init, MIB, disks=disks)) as machine:
        return Refusals(engine, dict(answers(machine)))


def script(engine: Engine) -> str:
    python = f"PYTHONPATH='{':'.join(filter(None, sys.path))}' '{sys.executable}'"
    values = {"MODULES": str(engine.modules.parent), "LINE": engine.line, "PYTHON": python}
    values |= {f"DISK_{name}": engine.disk(index) for index, name in enumerate("ABCD")}
    text = INIT
    for word, value in values.items():
        text = text.replace(word, value)
    return text


def answers(machine: Machine) -> Iterator[tuple[str, Any]]:
    while True:
        try:
            message = machine.channel.receive(SECONDS)
        except (ChannelClosed, TimeoutError):
            pytest.fail(machine.obituary("the guest said no more"))
        if "end" in message:
            return
        yield from message.items()


def test_a_disk_with_a_logical_volume_is_refused(refusals: Refusals) -> None:
    assert refusals.of(0) == [
        ["flash.in-use", f"{refusals.disk(0)} is part of the LVM volume vg0-home"]
    ]


def test_a_disk_with_an_open_luks_volume_is_refused(refusals: Refusals) -> None:
    assert refusals.of(1) == [
        ["flash.in-use", f"{refusals.disk(1)} is part of the LUKS volume secret"]
    ]


def test_a_disk_of_a_raid_array_is_refused(refusals: Refusals) -> None:
    assert refusals.of(2) == [
        ["flash.in-use", f"{refusals.disk(2)} is part of the RAID array md_test (raid1)"]
    ]


def test_a_disk_under_nothing_is_not(refusals: Refusals) -> None:
    assert refusals.of(3) == []


def test_the_kernel_learns_of_the_partitions_that_were_written(
    refusals: Refusals,
) -> None:
    assert refusals.answers["table"] == [[], [f"{refusals.disk(3)}1"]]
