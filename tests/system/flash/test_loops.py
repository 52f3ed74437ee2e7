"""Whole flashes onto loop devices."""

from __future__ import annotations

import gzip
import hashlib
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from piimage.card.image import write_card
from piimage.cli.flash import flash
from piimage.cli.provision import provision
from piimage.errors import DeviceRefused
from piimage.flash import guard
from piimage.run import Runner
from tests.programs.card.test_image import plan
from tests.system.flash.conftest import MIB, loop, sh


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_card(Runner(), plan(), tmp_path_factory.mktemp("card") / "pi4.img").image


@pytest.mark.parametrize("size", [121, 128, 200, 1024])
def test_a_flashed_device_is_a_healthy_card(
    disk: Callable[..., str], image: Path, tmp_path: Path, size: int
) -> None:
    device = disk(size * MIB)
    flash(device, [image], force=True, yes=device, hostname="shed", timezone="Asia/Tokyo")
    assert "No errors detected" in sh("sfdisk", "--verify", device)
    whole = Path(device).read_bytes()
    data = image.read_bytes()
    assert whole[:MIB] == data[:MIB]
    for number, (start, length) in enumerate([(1, 8), (9, 40), (49, 40), (89, 32)], start=1):
        part = tmp_path / f"p{number}"
        part.write_bytes(whole[start * MIB : (start + length) * MIB])
        check = ["e2fsck", "-fn"] if number == 4 else ["fsck.vfat", "-n"]
        sh(*check, part)
    p4 = tmp_path / "p4"
    assert sh("debugfs", "-R", "cat /piimage/provision/hostname", p4) == "shed"
    provision(device, force=True, hostname="other")
    p4.write_bytes(Path(device).read_bytes()[89 * MIB : 121 * MIB])
    sh("e2fsck", "-fn", p4)
    assert sh("debugfs", "-R", "cat /piimage/provision/hostname", p4) == "other"
    assert sh("debugfs", "-R", "cat /piimage/provision/timezone", p4) == "Asia/Tokyo"


def test_a_card_that_was_in_use_keeps_its_data_when_told_more(
    disk: Callable[..., str], image: Path, tmp_path: Path
) -> None:
    device = disk(128 * MIB, "--partscan")
    flash(device, [image], force=True, yes=device)
    sh("blockdev", "--rereadpt", device)
    point = tmp_path / "point"
    point.mkdir()
    sh("mount", "-o", f"loop,offset={89 * MIB},sizelimit={32 * MIB}", device, point)
    (point / "mine").write_text("kept")
    sh("umount", point)
    provision(device, force=True, hostname="shed")
    sh("mount", "-o", f"loop,offset={89 * MIB},sizelimit={32 * MIB}", device, point)
    assert (point / "mine").read_text() == "kept"
    assert (point / "piimage/provision/hostname").read_text() == "shed\n"
    assert (point / "piimage/provision").stat().st_uid == 0
    sh("umount", point)


def test_a_card_that_its_pi_has_grown_keeps_its_data_when_flashed_again(
    disk: Callable[..., str], image: Path, tmp_path: Path
) -> None:
    device = disk(200 * MIB, "--partscan")
    flash(device, [image], force=True, yes=device, hostname="shed")
    # As the Pi does at its first boot: the partition, then its file system.
    subprocess.run(
        ["sfdisk", "-N", "4", "--no-reread", device], input=b", +", check=True, capture_output=True
    )
    point = tmp_path / "point"
    point.mkdir()
    with loop(Path(device), "--offset", str(89 * MIB)) as partition:
        sh("e2fsck", "-fp", partition)
        sh("resize2fs", partition)
        sh("mount", partition, point)
        (point / "mine").write_text("kept")
        sh("umount", point)
    grown = sh("sfdisk", "--dump", device).splitlines()[-1]
    data = Path(device).read_bytes()[89 * MIB :]

    flash(device, [image], force=True, yes=device, keep_data=True)
    whole = Path(device).read_bytes()
    assert whole[89 * MIB :] == data
    for start, length in ((1, 8), (9, 40), (49, 40)):
        (tmp_path / "part").write_bytes(whole[start * MIB : (start + length) * MIB])
        sh("fsck.vfat", "-n", tmp_path / "part")
    assert sh("sfdisk", "--dump", device).splitlines()[-1] == grown
    with loop(Path(device), "--offset", str(89 * MIB)) as partition:
        sh("e2fsck", "-fn", partition)
        sh("mount", partition, point)
        assert (point / "mine").read_text() == "kept"
        assert (point / "piimage/provision/hostname").read_text() == "shed\n"
        sh("umount", point)


MEASURED = """
import re, sys
from piimage.cli.flash import flash
from pathlib import Path
flash(sys.argv[1], [Path(sys.argv[2])], force=True, yes=sys.argv[1])
print(re.search(r"VmHWM:\\s+(\\d+)", Path("/proc/self/status").read_text())[1])
"""


def test_memory_does_not_grow_with_the_image(disk: Callable[..., str], tmp_path: Path) -> None:
    small, large = (memory(disk, tmp_path, megabytes) for megabytes in (64, 700))
    assert large - small < 16 * MIB
    assert large < 110 * MIB  # Python 3.13 takes some MB more than 3.11


def memory(disk: Callable[..., str], tmp_path: Path, megabytes: int) -> int:
    """Return the most bytes that the flash of an image of so many MiB had in memory."""
    image, table = tmp_path / "big.img.gz", tmp_path / "table"
    table.touch()
    os.truncate(table, megabytes * MIB)
    subprocess.run(["sfdisk", "--quiet", table], input=b"label: dos\nstart=2048\n", check=True)
    with gzip.open(image, "wb", compresslevel=1) as file:
        file.write(table.read_bytes()[:MIB])
        for number in range(1, megabytes):
            file.write(bytes([number % 251]) * MIB)
    device = disk((megabytes + 1) * MIB, name=f"disk {megabytes}")
    done = subprocess.run(
        [sys.executable, "-c", MEASURED, device, image], check=True, capture_output=True
    )
    return int(done.stdout) * 1024


@pytest.mark.provokes("flash.changed")
@pytest.mark.parametrize("numbered", [True, False])
def test_a_card_that_is_swapped_during_the_question_is_not_written(
    disk: Callable[..., str], image: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    numbered: bool,
) -> None:  # fmt: skip
    """Before Linux 5.15 media had no sequence numbers; the device's number alone has to do."""
    if not numbered:
        look = guard.disk_of
        monkeypatch.setattr(guard, "disk_of", lambda *a: replace(look(*a), sequence=None))
    shown, other = disk(128 * MIB, name="shown"), disk(128 * MIB, name="other")
    name = tmp_path / "sdx"
    name.symlink_to(shown)

    def answer(_: str) -> str:
        name.unlink()
        name.symlink_to(other)
        return str(name)

    monkeypatch.setattr(sys.stdin, "isatty", lambda: True)
    monkeypatch.setattr("builtins.input", answer)
    before = [hashlib.sha256(Path(path).read_bytes()).digest() for path in (shown, other)]
    with pytest.raises(DeviceRefused, match="another device or card"):
        flash(str(name), [image], force=True)
    assert [hashlib.sha256(Path(path).read_bytes()).digest() for path in (shown, other)] == before


def test_nobody_can_mount_a_card_while_settings_are_written_to_it(
    disk: Callable[..., str], image: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    device = disk(128 * MIB)
    flash(device, [image], force=True, yes=device)
    log = tmp_path / "log"
    wrapper = tmp_path / "bin/debugfs"
    wrapper.parent.mkdir()
    taken = f"import os; os.open({device!r}, os.O_RDONLY | os.O_EXCL)"
    wrapper.write_text(
        f'#!/bin/sh\n{sys.executable} -IS -c "{taken}" 2>>{log} && echo free >>{log}\n'
        f'exec {shutil.which("debugfs", path="/usr/sbin:/sbin")} "$@"\n'
    )
    wrapper.chmod(0o755)
    monkeypatch.setenv("PATH", f"{wrapper.parent}:/usr/sbin:/usr/bin:/sbin:/bin")
    provision(device, force=True, hostname="shed")
    assert "free" not in log.read_text()
    assert log.read_text().count("Device or resource busy") == 2  # it is read, then written
