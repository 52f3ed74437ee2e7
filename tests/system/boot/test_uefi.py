"""Disk and CD for UEFI boot by Debian's firmware, and take their settings from a cloud."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from pathlib import Path

import pytest

from piimage.board import DiskKind
from piimage.card import gpt
from piimage.emulator.session import Options, boot
from piimage.firmware.manifest import board_of
from piimage.run import Runner
from piimage.testing.shell import Shell, new_key
from tests.metadata import Cloud, serving
from tests.system.boot.conftest import PATIENCE, Command, Pi

SIZE = 2 << 30
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


@pytest.fixture(scope="module")
def machine(disk: Path, key: Path) -> Iterator[Pi]:
    """The machine, booted from its qcow2 on NVMe."""
    board, runner = board_of(disk), Runner()
    options = Options(disk_size=SIZE, ssh_port=0, kind=DiskKind.NVME)
    with boot(disk, board, runner, options) as session:
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
