"""Cards boot on the emulated boards to a shell, from the very image, as the firmware would."""

from __future__ import annotations

import re
import urllib.request
from collections.abc import Callable
from pathlib import Path

import pytest

from piimage.boards import load_board, overlay_sources
from piimage.config.models import Appliance
from piimage.emulator.ports import Forward, free_port
from piimage.emulator.session import Options, boot, reboot
from piimage.firmware import devicetree
from piimage.firmware.reader import read_card
from piimage.plan.sensors import spi_overlay
from piimage.run import Runner
from tests.system.emulator.cards import Parts
from tests.system.emulator.conftest import TinyCard

D0_TREE = "bcm2712-d-rpi-5-b.dtb"
SHELL = "piimage: phase shell"
BOOT_SECONDS = 180
PIS = {
    "pi3": "Raspberry Pi 3 Model B",
    "pi4": "Raspberry Pi 4 Model B",
    "zero2w": "Raspberry Pi Zero 2 W",
}
EMULATED = (*PIS, "qemu-virt")
DISKS = {"qemu-virt": "vda"}


def value_of(lines: tuple[str, ...], word: str) -> str:
    return next(line.removeprefix(word).strip() for line in lines if line.startswith(word))


@pytest.mark.parametrize("name", EMULATED)
def test_a_board_boots_sees_its_card_and_its_network(
    name: str, tiny_card: TinyCard, runner: Runner
) -> None:
    board = load_board(name)
    port = free_port()
    options = Options(forwards=(Forward(port, 80),), disk_size=900 << 20)
    image = tiny_card(name)
    before = image.read_bytes()
    with boot(image, board, runner, options) as session:
        session.wait_for(SHELL, BOOT_SECONDS)
        lines = tuple(line.text for line in session.lines())
        assert value_of(lines, "MODEL") == PIS.get(name, "linux,dummy-virt")
        assert value_of(lines, "DISK") == f"{DISKS.get(name, 'mmcblk0')} {(1 << 30) // 512}  55 aa"
        assert "slot=a" in value_of(lines, "CMDLINE")
        assert not [line for line in lines if line.startswith("FAILED")]
        assert [phase.name for phase in session.phases()] == ["kernel", "initramfs", "shell"]
        session.send(
            "until [ -e /sys/class/net/eth0 ]; do sleep 0.2; done; ifconfig eth0 10.0.2.15; "
            "echo reached > /index.html; httpd -h /; ping -c 1 10.0.2.2; echo network''ed\n"
        )
        session.wait_for("1 packets received", 60)
        session.wait_for("networked", 60)
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=30) as answer:
            assert answer.read() == b"reached\n"
        session.send(
            "echo written | dd of=/dev/$DISK bs=512 seek=2 conv=notrunc; sync; poweroff -f\n"
        )
        session.wait_end(60)
        assert session.restarts == ()
    assert image.read_bytes() == before


def test_the_other_slot_is_tried_and_what_was_written_is_there(
    tiny_card: TinyCard, runner: Runner
) -> None:
    """tests/system/boot/test_tryboot.py does so on a Pi 4."""
    board = load_board("qemu-virt")
    with boot(tiny_card(board.name), board, runner) as session:
        session.wait_for(SHELL, BOOT_SECONDS)
        session.send("echo kept | dd of=/dev/$DISK bs=512 seek=9 conv=notrunc; sync; reboot -f\n")
        restart = session.wait_restart(60)
        assert (restart.cause, restart.tryboot) == ("restart", False)
        session.wait_for(SHELL, BOOT_SECONDS)
        with reboot(session, board, runner, tryboot=True) as again:
            again.wait_for(SHELL, BOOT_SECONDS)
            lines = tuple(line.text for line in again.lines())
            assert "slot=b" in value_of(lines, "CMDLINE")
            assert value_of(lines, "CHOSEN") == "00 00 00 03"
            again.send("dd if=/dev/$DISK bs=512 skip=9 count=1 | head -c 4; echo\n")
            again.wait_for(re.compile(r"^kept", re.M), 60)


@pytest.mark.parametrize("name", PIS)
def test_the_overlays_bring_i2c_and_spi(name: str, tiny_card: TinyCard, runner: Runner) -> None:
    with boot(tiny_card(name), load_board(name), runner) as session:
        session.wait_for(SHELL, BOOT_SECONDS)
        session.send("until ls /dev/spidev0.0 /dev/spidev0.1; do sleep 0.5; done; echo spi''ed\n")
        session.wait_for("spied", 60)
        session.send("for bus in /sys/bus/i2c/devices/*/of_node; do readlink -f $bus; done\n")
        session.wait_for("i2c@7e804000", 60)


@pytest.mark.parametrize("name", ["pi3", "pi4", "pi5", "zero2w"])
def test_every_overlay_applies_to_every_device_tree(
    name: str, parts_of: Callable[[str], Parts], runner: Runner
) -> None:
    compiled = [
        (overlay, devicetree.compile_overlay(runner, source))
        for overlay, source in overlay_sources(load_board(name)).items()
    ]
    for tree, path in parts_of(name).device_trees.items():
        for overlay in compiled:
            devicetree.apply_overlays(runner, path.read_bytes(), [overlay], origin=tree)
        # Two speeds of one bus are the only ones that exclude each other.
        together = [overlay for overlay in compiled if overlay[0] != "i2c1-400k"]
        devicetree.apply_overlays(runner, path.read_bytes(), together, origin=tree)


@pytest.mark.parametrize("name", ["pi3", "pi4", "pi5", "zero2w"])
def test_chips_on_spi_take_the_place_of_spidev_on_every_device_tree(
    name: str, parts_of: Callable[[str], Parts], runner: Runner, tmp_path: Path
) -> None:
    board = load_board(name)
    chip = {"chip": "mcp3008", "bus": "spi0", "cs": 1, "name": "soil"}
    source = spi_overlay(Appliance.model_validate({"board": name, "sensors": [chip]}), board)
    assert source is not None
    (tmp_path / "sensors.dtso").write_bytes(source)
    paths = {"spi0": overlay_sources(board)["spi0"], "sensors": tmp_path / "sensors.dtso"}
    overlays = [(each, devicetree.compile_overlay(runner, path)) for each, path in paths.items()]
    bus = "/spi0" if name == "pi5" else "/soc/spi@7e204000"
    for tree, path in parts_of(name).device_trees.items():
        made = devicetree.apply_overlays(runner, path.read_bytes(), overlays, origin=tree)
        (tmp_path / "made.dtb").write_bytes(made)
        found = [
            runner.run(["fdtget", tmp_path / "made.dtb", f"{bus}/{node}", key]).text.strip()
            for node, key in (
                ("sensor@1", "compatible"),
                ("sensor@1", "reg"),
                ("spidev@1", "status"),
            )
        ]
        assert found == ["mcp3008", "1", "disabled"], tree


@pytest.mark.parametrize("name", ["pi3", "pi4", "pi5", "zero2w"])
def test_each_models_device_tree_is_of_that_model(
    name: str, parts_of: Callable[[str], Parts], runner: Runner
) -> None:
    for model in load_board(name).models:
        assert model.tree_name is not None
        tree = parts_of(name).device_trees[model.tree_name]
        words = runner.run(["fdtget", tree, "/", "compatible"]).text.split()
        assert words[0] == model.compatible


def test_the_overlay_of_stepping_d0_makes_debians_own_tree(
    parts_of: Callable[[str], Parts], runner: Runner, tmp_path: Path
) -> None:
    d0 = overlay_sources(load_board("pi5"))["bcm2712d0"]
    tree = parts_of("pi5").device_trees["bcm2712-rpi-5-b.dtb"].read_bytes()
    overlay = ("bcm2712d0", devicetree.compile_overlay(runner, d0))
    made = devicetree.apply_overlays(runner, tree, [overlay], origin="test")
    (tmp_path / "made.dtb").write_bytes(made)
    texts = [
        runner.run(["dtc", "-q", "-s", "-I", "dtb", "-O", "dts", file]).text.splitlines()
        for file in (tmp_path / "made.dtb", parts_of("pi5").device_trees[D0_TREE])
    ]
    names = "gpio-line-names"  # Debian's tree has them for one bank more
    changed = {line.strip() for line in set(texts[0]) ^ set(texts[1]) if names not in line}
    assert changed == set()


def test_a_pi_5_would_find_what_it_starts(tiny_card: TinyCard, runner: Runner) -> None:
    image: Path = tiny_card("pi5")
    files = read_card(image, load_board("pi5"), runner)
    assert (files.partition, files.kernel_path) == (2, "kernel.img")
    assert "i2c1" in files.overlays
    assert files.device_tree is not None
    assert b"raspberrypi,5-model-b" in files.device_tree
    assert files.remarks == ()
    assert read_card(image, load_board("pi5"), runner, tryboot=True).partition == 3
