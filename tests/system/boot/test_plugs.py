"""What a person does to a machine that runs: plugs USB sticks in and out, and presses the power
button. Both go through QMP; the button is gpio-keys on the PL061 of QEMU's virt machine."""

from __future__ import annotations

import json
import re
import socket
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from piimage.emulator.machine import Machine
from piimage.errors import PiimageError
from tests.system.boot.conftest import PATIENCE, Pi, up
from tests.system.boot.test_virt import inside

MIB = 1 << 20
START = 1 * MIB  # of the partition


class Qmp:
    """QEMU's monitor, beside the one that the session has."""

    def __init__(self, path: Path) -> None:
        with socket.socket(socket.AF_UNIX) as link:
            link.settimeout(60)
            link.connect(str(path))
            self._stream = link.makefile("rw")
        self._stream.readline()  # QEMU greets
        self.do("qmp_capabilities")

    def do(self, command: str, **arguments: Any) -> None:
        """Run a command; it must succeed."""
        self._stream.write(json.dumps({"execute": command, "arguments": arguments}) + "\n")
        self._stream.flush()
        self._wait_for("return")

    def wait_for_event(self, name: str) -> None:
        while self._wait_for("event") != name:
            pass

    def _wait_for(self, key: str) -> object:
        while True:
            answer = json.loads(self._stream.readline())
            assert "error" not in answer, answer
            if key in answer:
                return answer[key]

    def close(self) -> None:
        self._stream.close()


@dataclass(frozen=True)
class Machines:
    """The machine with two sticks in it from the start, and the image of a third one."""

    pi: Pi
    qmp: Qmp
    stick: Path

    def plug_in(self) -> None:
        self.qmp.do("device_add", driver="usb-storage", id="stick", drive="stick", bus="xhci.0")
        self.pi.session.wait_for("piimage: disk music: /dev/sdc (vfat) is mounted", PATIENCE)

    def pull_out(self) -> None:
        self.qmp.do("device_del", id="stick")
        self.qmp.wait_for_event("DEVICE_DELETED")
        self.pi.session.wait_for("piimage: disk music: unplugged", PATIENCE)

    def press_power_button(self) -> None:
        """Press until it is noticed: QEMU's press takes 100 ms, which a busy machine may miss."""
        for last in (False, False, False, True):
            self.qmp.do("system_powerdown")
            try:
                self.pi.session.wait_for("piimage: power button: switching off", PATIENCE / 10)
            except PiimageError:
                if last:
                    raise
            else:
                return


def ext4_in_a_partition(path: Path) -> None:
    """Make a stick as most are: with a partition table, and the label on the partition."""
    tree = path.with_suffix(".d")
    tree.mkdir()
    (tree / "list").write_text("tomatoes\n")
    with path.open("wb") as file:
        file.truncate(16 * MIB)
    subprocess.run(["sfdisk", "-q", path], input=b"start=2048, type=83\n", check=True)
    offset = f"offset={START}"
    words = ["mke2fs", "-q", "-t", "ext4", "-L", "Notes of mine", "-d", str(tree)]
    subprocess.run([*words, "-E", offset, str(path), "14M"], check=True)


def exfat(path: Path) -> None:
    with path.open("wb") as file:
        file.truncate(16 * MIB)
    subprocess.run(["mkfs.exfat", "-L", "Films", path], check=True)


def fat_without_a_partition(path: Path, song: Path) -> None:
    song.write_text("la la\n")
    subprocess.run(["mkfs.vfat", "-n", "MUSIC", "-C", path, "8192"], check=True)
    subprocess.run(["mcopy", "-i", path, song, "::song.txt"], check=True)


@pytest.fixture(scope="module")
def machine(virt: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machines]:
    folder = tmp_path_factory.mktemp("plugs")
    qmp, stick, notes, films = (folder / name for name in ("qmp", "stick", "notes", "films"))
    fat_without_a_partition(stick, folder / "song.txt")
    ext4_in_a_partition(notes)
    exfat(films)
    words = [
        "-qmp", f"unix:{qmp},server=on,wait=off", "-device", "qemu-xhci,id=xhci",
        "-blockdev", f"driver=raw,node-name=notes,file.driver=file,file.filename={notes}",
        "-device", "usb-storage,bus=xhci.0,drive=notes",
        "-blockdev", f"driver=raw,node-name=films,file.driver=file,file.filename={films}",
        "-device", "usb-storage,bus=xhci.0,drive=films",
        "-blockdev", f"driver=raw,node-name=stick,file.driver=file,file.filename={stick}",
    ]  # fmt: skip
    argv = Machine.argv
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Machine, "argv", lambda self, monitor: [*argv(self, monitor), *words])
        with up(virt, folder) as pi:
            found = Qmp(qmp)
            yield Machines(pi, found, stick)
            found.close()


def test_a_stick_that_is_there_at_the_start_is_mounted_by_its_label(machine: Machines) -> None:
    pi = machine.pi
    pi.say("until grep -q ' /media/notes ext4 ' /proc/mounts; do sleep 1; done")
    options = pi.say("grep ' /media/notes ext4 ' /proc/mounts").split()[3].split(",")
    assert {"ro", "nosuid", "nodev", "noexec", "noatime"} <= {*options}
    assert inside(pi, "playing", "cat /notes/list") == "tomatoes\n"
    assert "Read-only file system" in inside(pi, "playing", "touch /notes/more")
    console = "\n".join(line.text for line in pi.session.lines())
    assert re.search(
        r"piimage: disk notes: /dev/sd[ab]1 \(ext4\) is mounted at /media/notes", console
    )


def test_a_stick_that_comes_later_is_in_the_container_until_it_goes(machine: Machines) -> None:
    pi = machine.pi
    assert inside(pi, "playing", "ls /music") == ""
    # Nothing may fill the memory while the stick is away.
    assert "Read-only file system" in inside(pi, "playing", "touch /music/lost")
    machine.plug_in()
    assert inside(pi, "playing", "cat /music/song.txt; id -u") == "la la\n1234\n"
    assert inside(pi, "playing", "echo mine >/music/Bücher.txt; sync") == ""
    machine.pull_out()
    assert inside(pi, "playing", "ls /music") == ""
    machine.plug_in()
    assert inside(pi, "playing", "cat /music/Bücher.txt") == "mine\n"


def test_a_container_that_is_no_root_writes_to_exfat(machine: Machines) -> None:
    machine.pi.say("until grep -q ' /media/films exfat ' /proc/mounts; do sleep 1; done")
    script = "echo reel >/films/Résumé.txt; cat /films/R*; id -u"
    assert inside(machine.pi, "playing", script) == "reel\n1234\n"


def test_the_power_button_switches_off_in_order(machine: Machines) -> None:
    """What was written to a stick until then is on it."""
    session = machine.pi.session
    inside(machine.pi, "playing", "echo last >/music/last.txt")
    machine.press_power_button()
    session.wait_for("piimage: service hello_world: stopped", PATIENCE)
    session.wait_end(PATIENCE)
    assert session.restarts == ()
    read = subprocess.run(
        ["mtype", "-i", machine.stick, "::last.txt"], capture_output=True, text=True, check=True
    )
    assert read.stdout == "last\n"
