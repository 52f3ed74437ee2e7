"""Devices that must not be written to, made for real: each is refused, and not a byte changes."""

from __future__ import annotations

import contextlib
import hashlib
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from piimage.cli.flash import flash
from piimage.errors import ErrorGroup, PiimageError
from tests.system.flash.conftest import MIB, loop, sh
from tests.unit.flash.cards import image_file

SIZE = 160 * MIB  # btrfs takes no less than 109 MiB


@dataclass
class Bench:
    """A scratch folder, and what must be undone at the end."""

    folder: Path
    undo: contextlib.ExitStack

    def file(self, name: str = "disk", size: int = SIZE) -> Path:
        path = self.folder / name
        with path.open("wb") as file:
            file.write(b"\xde\xad\xbe\xef" * 1024)
            file.truncate(size)
        return path

    def loop(self, *options: str, name: str = "disk", size: int = SIZE) -> str:
        return self.undo.enter_context(loop(self.file(name, size), *options))

    def partitioned(self) -> str:
        """A disk with a partition; told to the kernel, which may not read tables itself."""
        device = self.loop("--partscan")
        command = ["sfdisk", "--quiet", "--no-reread", "--no-tell-kernel", device]
        subprocess.run(command, input=b"label: dos\nstart=2048\n", check=True)
        sh("partx", "--add", device)
        self.undo.callback(subprocess.run, ["partx", "--delete", device], check=False)
        return device

    def mount(self, source: str, *options: str, name: str = "point") -> Path:
        point = self.folder / name
        point.mkdir()
        sh("mount", *options, source, point)
        self.undo.callback(subprocess.run, ["umount", "-l", point], check=False)
        return point

    def running(self, *words: str | Path, ready: Callable[[], bool]) -> None:
        process = subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        self.undo.callback(process.wait)
        self.undo.callback(process.terminate)
        for _ in range(100):
            if ready():
                return
            time.sleep(0.05)
        raise AssertionError("it did not get ready")


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    with contextlib.ExitStack() as undo:
        yield Bench(tmp_path, undo)


def file_system(device: str) -> None:
    """Make one that writes nothing on its own once it is mounted."""
    sh("mke2fs", "-q", "-F", "-O", "^has_journal", "-E", "lazy_itable_init=0", device)


def mounted(b: Bench) -> str:
    device = b.loop()
    file_system(device)
    b.mount(device)
    return device


def mounted_read_only(b: Bench) -> str:
    device = b.loop()
    file_system(device)
    b.mount(device, "-o", "ro")
    return device


def mounted_with_a_blank(b: Bench) -> str:
    device = b.loop()
    file_system(device)
    b.mount(device, name="a point")
    return device


def mounted_partition(b: Bench) -> str:
    device = b.partitioned()
    file_system(f"{device}p1")
    b.mount(f"{device}p1")
    return device


def bind_mount_left(b: Bench) -> str:
    device = b.loop()
    file_system(device)
    point = b.mount(device)
    (point / "inner").mkdir()
    b.mount(str(point / "inner"), "--bind", name="bound")
    sh("umount", point)
    return device


def overlay_on_top(b: Bench) -> str:
    device = b.loop()
    file_system(device)
    point = b.mount(device)
    for name in ("up", "work", "low"):
        (point / name).mkdir()
    where = f"lowerdir={point}/low,upperdir={point}/up,workdir={point}/work"
    b.mount("overlay", "-t", "overlay", "-o", where, name="merged")
    return device


def mounted_squashfs(b: Bench) -> str:
    (b.folder / "tree").mkdir()
    sh("mksquashfs", b.folder / "tree", b.folder / "sq", "-quiet", "-no-progress")
    device = b.undo.enter_context(loop(b.folder / "sq"))
    b.mount(device)
    return device


def mounted_elsewhere(b: Bench) -> str:
    """Only in another mount namespace, by a process that does not hold the device open."""
    device = b.loop()
    file_system(device)
    flag, point = b.folder / "flag", b.folder / "there"
    point.mkdir()
    script = f"mount {device} {point} && touch {flag} && exec sleep 60"
    b.running("unshare", "-m", "sh", "-c", script, ready=flag.exists)
    return device


def link_to_a_mounted_device(b: Bench) -> str:
    link = b.folder / "by-id"
    link.symlink_to(mounted(b))
    return str(link)


def other_node_of_a_mounted_device(b: Bench) -> str:
    device = mounted(b)
    node = b.folder / "node"
    os.mknod(node, 0o060600, Path(device).stat().st_rdev)
    return str(node)


def looped(b: Bench) -> str:
    device = b.loop()
    b.undo.enter_context(loop(Path(device)))
    return device


def looped_partition(b: Bench) -> str:
    device = b.partitioned()
    b.undo.enter_context(loop(Path(f"{device}p1")))
    return device


def mounted_loop_on_top(b: Bench) -> str:
    device = b.loop()
    file_system(device)
    b.mount(b.undo.enter_context(loop(Path(device))))
    return device


def mounted_two_loops_up(b: Bench) -> str:
    device = b.loop()
    file_system(device)
    first = b.undo.enter_context(loop(Path(device)))
    b.mount(b.undo.enter_context(loop(Path(first))))
    return device


def swap(b: Bench) -> str:
    path = b.file()
    path.write_bytes(bytes(SIZE))
    device = b.undo.enter_context(loop(path))
    sh("mkswap", device)
    sh("swapon", device)
    b.undo.callback(subprocess.run, ["swapoff", device], check=False)
    return device


def swap_partition(b: Bench) -> str:
    device = b.partitioned()
    sh("mkswap", f"{device}p1")
    sh("swapon", f"{device}p1")
    b.undo.callback(subprocess.run, ["swapoff", f"{device}p1"], check=False)
    return device


def large_sectors(b: Bench) -> str:
    return b.loop("--sector-size", "4096")


def read_only(b: Bench) -> str:
    return b.loop("--read-only")


def set_read_only(b: Bench) -> str:
    device = b.loop()
    sh("blockdev", "--setro", device)
    b.undo.callback(sh, "blockdev", "--setrw", device)
    return device


def too_small(b: Bench) -> str:
    return b.loop(size=16 * MIB)


def one_sector_too_small(b: Bench) -> str:
    return b.loop(size=24 * MIB - 512)


def empty(b: Bench) -> str:
    device = sh("losetup", "--find")
    assert device
    return device


def regular_file(b: Bench) -> str:
    return str(b.file())


def folder(b: Bench) -> str:
    return str(b.folder)


def character_device(b: Bench) -> str:
    return "/dev/null"


def missing(b: Bench) -> str:
    return str(b.folder / "nothing")


def stale_node(b: Bench) -> str:
    node = b.folder / "node"
    os.mknod(node, 0o060600, os.makedev(240, 77))
    return str(node)


def partition(b: Bench) -> str:
    return f"{b.partitioned()}p1"


def system_disk(b: Bench) -> str:
    number = Path("/").stat().st_dev
    return f"/dev/{Path(f'/sys/dev/block/{os.major(number)}:{os.minor(number)}').resolve().name}"


def open_elsewhere(b: Bench) -> str:
    device, flag = b.loop(), b.folder / "flag"
    script = f"exec 3<>{device}; touch {flag}; exec sleep 60"
    b.running("bash", "-c", script, ready=flag.exists)
    return device


def partition_open_elsewhere(b: Bench) -> str:
    device, flag = b.partitioned(), b.folder / "flag"
    script = f"exec 3<{device}p1; touch {flag}; exec sleep 60"
    b.running("bash", "-c", script, ready=flag.exists)
    return device


def locked_elsewhere(b: Bench) -> str:
    device, flag = b.loop(), b.folder / "flag"
    code = (
        "import fcntl,os,sys,time; d=os.open(sys.argv[1],os.O_RDWR|os.O_EXCL);"
        "fcntl.flock(d,2); open(sys.argv[2],'w'); time.sleep(60)"
    )
    b.running(sys.executable, "-c", code, device, flag, ready=flag.exists)
    return device


def external_journal(b: Bench) -> str:
    """A device that the kernel holds without a mount, a holder or a process to be seen."""
    journal = b.loop()
    sh("mke2fs", "-q", "-F", "-b", "4096", "-O", "journal_dev", journal)
    data = b.loop(name="data")
    now = "lazy_itable_init=0"
    sh("mke2fs", "-q", "-F", "-b", "4096", "-E", now, "-J", f"device={journal}", data)
    b.mount(data, "-o", "ro")
    return journal


def memory_disk(b: Bench) -> str:
    return "/dev/zram0"


SWAP_MAGIC = b"SWAPSPACE2"  # the last bytes of the header's page (mkswap(8))
USED, SYSTEM = "flash.in-use", "flash.system-disk"
SITUATIONS = [
    (mounted, USED, "is mounted on"),
    (mounted_read_only, USED, "is mounted on"),
    (mounted_with_a_blank, USED, "/a point"),
    (mounted_partition, USED, "p1 is mounted on"),
    (bind_mount_left, USED, "/bound"),
    (overlay_on_top, USED, "is mounted on"),
    (mounted_squashfs, USED, "is mounted on"),
    (mounted_elsewhere, "flash.held", "in use"),
    (link_to_a_mounted_device, USED, "is mounted on"),
    (other_node_of_a_mounted_device, USED, "is mounted on"),
    (looped, USED, "is attached to the loop device"),
    (looped_partition, USED, "p1 is attached to the loop device"),
    (mounted_loop_on_top, USED, "is mounted on"),
    (mounted_two_loops_up, USED, "is mounted on"),
    (swap, SYSTEM, "swaps to"),
    (swap_partition, SYSTEM, "swaps to"),
    (read_only, "flash.read-only", "write-protected"),
    (set_read_only, "flash.read-only", "write-protected"),
    (too_small, "flash.too-small", "it has 16777216 bytes"),
    (one_sector_too_small, "flash.too-small", "the image needs 25165824"),
    (large_sectors, "flash.sector-size", "sectors have 4096 bytes"),
    (empty, "flash.no-medium", "no card in the reader"),
    (regular_file, "flash.not-a-device", "not a block device"),
    (folder, "flash.not-a-device", "not a block device"),
    (character_device, "flash.not-a-device", "not a block device"),
    (missing, "flash.no-device", "no such device"),
    (stale_node, "flash.no-device", "knows no disk"),
    (partition, "flash.partition", "give the whole disk"),
    (system_disk, SYSTEM, "file system /"),
    (open_elsewhere, USED, "has it open"),
    (partition_open_elsewhere, USED, "has it open"),
    (locked_elsewhere, USED, "has it open"),
    (external_journal, "flash.held", "in use"),
    (memory_disk, "flash.not-a-card", "not a card or disk"),
]


def codes(error: PiimageError) -> set[str]:
    return {e.code for e in (error.errors if isinstance(error, ErrorGroup) else (error,))}


def snapshot(folder: Path) -> dict[str, str]:
    """The digests of all backing files, after what mounted file systems still had to write.

    Of a swap area it is that of its header and of what comes before: the kernel may write to the
    rest whenever it wants memory.
    """
    os.sync()
    return {p.name: digest(p.read_bytes()) for p in sorted(folder.iterdir()) if p.is_file()}


def digest(content: bytes) -> str:
    return hashlib.sha256(content.partition(SWAP_MAGIC)[0]).hexdigest()


@pytest.mark.parametrize(
    ("situation", "code", "message"), SITUATIONS, ids=lambda value: getattr(value, "__name__", "")
)
def test_it_is_refused_and_untouched(
    bench: Bench, situation: Callable[[Bench], str], code: str, message: str
) -> None:
    image = image_file(bench.folder)
    device = situation(bench)
    before = snapshot(bench.folder)
    with pytest.raises(PiimageError) as caught:
        flash(device, [image], force=True, yes=device)
    assert code in codes(caught.value)
    assert message in str(caught.value)
    assert caught.value.exit_code == 4
    assert snapshot(bench.folder) == before


def test_there_are_situations_enough() -> None:
    assert len(SITUATIONS) >= 25


@pytest.mark.provokes("flash.not-removable")
def test_what_is_not_removable_needs_force(bench: Bench) -> None:
    device = bench.loop()
    before = snapshot(bench.folder)
    image = image_file(bench.folder)
    with pytest.raises(PiimageError, match="neither removable") as caught:
        flash(device, [image], yes=device)
    assert caught.value.exit_code == 4
    assert snapshot(bench.folder)["disk"] == before["disk"]


@pytest.mark.provokes("flash.unconfirmed")
@pytest.mark.parametrize(("yes", "status"), [(None, 4), ("/dev/sdz", 2), ("", 2)])
def test_a_name_that_is_not_typed_again_is_no_yes(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, yes: str | None, status: int
) -> None:
    device = bench.loop()
    image = image_file(bench.folder)
    before = snapshot(bench.folder)
    with Path("/dev/null").open() as nobody:
        monkeypatch.setattr(sys, "stdin", nobody)
        with pytest.raises(PiimageError) as caught:
            flash(device, [image], force=True, yes=yes)
    assert caught.value.code == "flash.unconfirmed"
    assert caught.value.exit_code == status
    assert snapshot(bench.folder) == before
