"""Disk and CD for UEFI boot by Debian's firmware, and take their settings from a cloud."""

from __future__ import annotations

import base64
import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from piimage.board import DiskKind
from piimage.build import open_project
from piimage.card import gpt
from piimage.config.load import load
from piimage.emulator.drive import flattened
from piimage.emulator.session import Options, boot
from piimage.events import ignore
from piimage.firmware import uboot_script
from piimage.firmware.manifest import board_of
from piimage.locking.inputs import Inputs
from piimage.run import Runner
from piimage.store import Store
from piimage.testing.shell import Shell, new_key
from tests.metadata import Cloud, serving
from tests.system.boot.conftest import PATIENCE, Command, Pi
from tests.system.boot.slots import with_both_folders

SIZE = 2 << 30
# Lists what the firmware keeps.
VARIABLES = "mkdir -p /tmp/v && mount -t efivarfs v /tmp/v && ls /tmp/v; umount /tmp/v"
NAME = b"ip-10-0-0-5.eu-central-1.compute.internal"


@pytest.fixture(scope="module")
def key(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A key pair: the cloud gives its public half to the machine."""
    return new_key(Runner(), tmp_path_factory.mktemp("key"))[0]


@pytest.fixture(scope="module")
def cloud(key: Path) -> Iterator[Cloud]:
    public = key.with_suffix(".pub").read_bytes()
    content = {
        "meta-data/local-hostname": NAME,
        "meta-data/public-keys/": b"0=laptop",
        "meta-data/public-keys/0/openssh-key": public,
        "user-data": b"#cloud-config\ntimezone: Asia/Tokyo\n",
    }
    with serving(Cloud(content)) as found:
        yield found


@pytest.fixture(scope="module")
def disk(piimage: Command, appliances: Path, cloud: Cloud) -> Path:
    port = f"METADATA_PORT={cloud.port}"
    forms = "raw,qcow2,iso-efi"
    built = piimage(["build", "cloud.yml", "--set", port, "--format", forms, "-o", "out"])
    assert built.returncode == 0, built.stderr
    assert "cloud.iso runs from memory" in built.stdout + built.stderr
    return appliances / "out" / "cloud.img"


def inputs_in(store: Path) -> Inputs:
    """The inputs of the command."""
    return Inputs(Store(store), Runner(), ignore, time.time, os.environ.get("PIIMAGE_MIRROR"))


def with_both(file: Path, sets: list[str], store: Path) -> Path:
    """Write the card of `file`, with its version in both folders."""
    inputs = inputs_in(store)
    project = open_project([file], load([file], sets, os.environ), inputs)
    return with_both_folders(project, inputs, file.with_suffix(".both"))


@pytest.fixture(scope="module")
def machine(
    disk: Path, key: Path, cloud: Cloud, appliances: Path, piimage_store: Path
) -> Iterator[Pi]:
    """The machine, booted from NVMe; both folders have the version."""
    board, runner = board_of(disk), Runner()
    both = with_both(appliances / "cloud.yml", [f"METADATA_PORT={cloud.port}"], piimage_store)
    options = Options(disk_size=SIZE, ssh_port=0, kind=DiskKind.NVME)
    with boot(both, board, runner, options) as session:
        assert session.ssh_port is not None
        session.wait_for("piimage: service sshd: running", PATIENCE)
        shell = Shell(runner, key, session.ssh_port)
        shell.wait(PATIENCE)
        yield Pi(session, board, shell)


def test_the_disk_has_a_table_that_independent_readers_find_whole(disk: Path) -> None:
    runner = Runner()
    assert "No errors detected" in runner.run(["sfdisk", "--verify", disk]).text
    assert "No problems found" in runner.run(["sgdisk", "-v", disk]).text
    other = disk.with_suffix(".qcow2")
    assert "No errors were found" in runner.run(["qemu-img", "check", other]).text
    same = runner.run(["qemu-img", "compare", "-f", "raw", "-F", "qcow2", disk, other])
    assert "Images are identical" in same.text


def test_the_firmware_started_the_boot_loader_and_that_the_slot(machine: Pi) -> None:
    assert "piimage: slot /dev/nvme0n1p1 folder a/, containers from slot" in [
        line.text for line in machine.session.lines()
    ]
    facts = machine.say("ls /sys/firmware; cat /proc/cmdline; grep BOARD /run/piimage/boot")
    assert "efi" in facts.split()
    assert "piimage.prefix=a/" in facts
    assert "BOARD='arm64-uefi'" in facts
    lines = [line.text for line in machine.session.lines()]
    assert [line for line in lines if "did not load" in line or "DATA LOST" in line] == []


def test_the_data_partition_fills_the_disk_and_the_table_is_whole(
    machine: Pi, tmp_path: Path
) -> None:
    sectors = machine.say("cat /sys/class/block/nvme0n1p2/start /sys/class/block/nvme0n1p2/size")
    start, size = map(int, sectors.split())
    assert start + size == SIZE // 512 - 33
    assert "data file system fills its partition" in "\n".join(
        line.text for line in machine.session.lines()
    )
    copied = tmp_path / "disk"
    with copied.open("wb") as file:
        file.truncate(SIZE)
        for at, count in ((0, 34), (SIZE // 512 - 33, 33)):
            read = f"dd if=/dev/nvme0n1 bs=512 skip={at} count={count} 2>/dev/null | base64"
            file.seek(at * 512)
            file.write(base64.b64decode(machine.say(read)))
    assert "No problems found" in Runner().run(["sgdisk", "-v", copied]).text
    with copied.open("rb") as file:
        assert (
            gpt.decode(file.read(gpt.HEAD), SIZE, "disk").partitions[2].end == (start + size) * 512
        )


def test_the_cloud_gave_the_name_the_key_and_the_user_data(machine: Pi, cloud: Cloud) -> None:
    """That the shell logs in shows the key."""
    assert machine.say("hostname").strip() == "ip-10-0-0-5"
    assert machine.say("cat /data/piimage/provision/timezone").strip() == "Asia/Tokyo"
    assert machine.say("cat /run/piimage/cloud/user-data").startswith("#cloud-config")
    settings = (
        "cloud-metadata: settings: host name ip-10-0-0-5, 1 SSH key for root, time zone Asia/Tokyo"
    )
    assert settings in [line.text for line in machine.session.lines()]
    assert cloud.requests[0] == "PUT /latest/api/token 200"
    assert [line for line in cloud.requests if not line.endswith((" 200", " 404"))] == []


def test_systemd_boot_tries_the_other_folder_once_by_a_variable(machine: Pi) -> None:
    session = machine.session
    assert machine.say("/usr/lib/piimage/try-flag probe") == ""
    assert "LoaderEntryOneShot" not in machine.say(VARIABLES)
    machine.say("(sleep 1; /usr/lib/piimage/try-boot) </dev/null >/dev/null 2>&1 &")
    tried = session.wait_restart(PATIENCE)
    assert (tried.cause, tried.tryboot) == ("restart", True)
    session.wait_for("piimage: service sshd: running", PATIENCE)
    machine.shell.wait(PATIENCE)
    facts = machine.say(". /run/piimage/boot; echo $PIIMAGE_SLOT_PREFIX $PIIMAGE_TRYBOOT")
    assert facts.split() == ["b/", "1"]
    names = machine.say(VARIABLES).split()
    assert any(name.startswith("LoaderFeatures-") for name in names)
    assert [name for name in names if name.startswith(("LoaderEntryOneShot", "Piimage"))] == []


def test_the_machine_switches_itself_off(machine: Pi) -> None:
    """The last test, because the machine is off then."""
    machine.say("(sleep 1; initctl poweroff) >/dev/null 2>&1 &")  # the connection ends before it
    machine.session.wait_end(PATIENCE)


def test_the_iso_boots_from_a_cd_and_needs_it_no_more(disk: Path, key: Path, cloud: Cloud) -> None:
    """The cloud gives the key: an ISO has no place for one."""
    iso, runner = disk.with_suffix(".iso"), Runner()
    board = board_of(iso)
    with boot(iso, board, runner, Options(ssh_port=0, kind=DiskKind.CD)) as session:
        assert session.ssh_port is not None
        session.wait_for("piimage: service sshd: running", PATIENCE)
        shell = Shell(runner, key, session.ssh_port)
        shell.wait(PATIENCE)
        machine = Pi(session, board, shell)
        assert machine.say("grep -c ' /data tmpfs ' /proc/mounts").strip() == "1"
        assert machine.say("hostname").strip() == "ip-10-0-0-5"
        # Nothing has a driver for the drive, so that nothing can read it.
        assert machine.say("ls /sys/block | grep -v loop || true").split() == []
        lines = [line.text for line in session.lines()]
    assert "piimage: slot initramfs, containers from slot" in lines
    assert "piimage: /data is temporary: this image has no disk" in lines
    assert [line for line in lines if "did not load" in line or "DATA LOST" in line] == []


def test_a_board_with_u_boot_is_a_file_beside_the_yaml(piimage: Command, appliances: Path) -> None:
    built = piimage(["build", "uboot.yml", "-o", "out"])
    assert built.returncode == 0, built.stderr
    card = appliances / "out" / "uboot.img"
    done = piimage(["run", card, "--until", "HELLO from", "--timeout", "600"])
    assert done.returncode == 0, done.stderr
    assert "U-Boot" in done.stdout
    assert "piimage: slot /dev/vda1 folder a/, containers from slot" in done.stdout


def test_u_boot_tries_the_other_folder_once_by_a_mark_in_a_sector(
    appliances: Path, piimage_store: Path, tmp_path: Path
) -> None:
    """The mark is there from the beginning, as a system leaves it that restarts for a try."""
    file = appliances / "uboot-updates.yml"
    file.write_text((appliances / "uboot.yml").read_text() + "slots: { updates: true }\n")
    card, runner = with_both(file, [], piimage_store), Runner()
    board = board_of(card)
    at = (board.layout.start_mib << 20) + uboot_script.SECTOR * 512
    with card.open("r+b") as image:
        image.seek(at)
        image.write(uboot_script.MARK)
    with boot(card, board, runner, Options(disk_size=SIZE)) as session:
        session.wait_for("piimage: slot /dev/vda1 folder b/, containers from slot", PATIENCE)
        session.wait_for("HELLO from", PATIENCE)
        session.switch_off()
        with flattened(runner, session.machine.drive) as now, now.open("rb") as disk_now:
            disk_now.seek(at)
            assert disk_now.read(512) == bytes(512)
