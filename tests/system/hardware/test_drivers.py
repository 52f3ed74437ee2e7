"""What the boards load, held against the kernels, device trees and tables that Debian has now."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Sequence

import pytest

from piimage.board import Board
from piimage.boards import load_board
from piimage.cli.driver_reference import driver_reference
from piimage.firmware.fdt import Node, read_tree
from piimage.hardware.drivers import KernelDrivers
from piimage.hardware.survey import Kernels, Surveyed, pis, survey
from piimage.run import Runner
from piimage.steps import Builder
from tests.system.conftest import ROOT

PAGE = ROOT / "docs" / "reference" / "drivers.md"
MODELS = [(board.name, model.title) for board in pis() for model in board.models]


@pytest.fixture(scope="session")
def surveyed(used: Kernels) -> Sequence[Surveyed]:
    return [model for board in pis() for model in survey(board, used, Runner())]


@pytest.mark.parametrize(("board", "title"), MODELS, ids=[title for _, title in MODELS])
def test_a_model_has_every_driver_that_the_kernel_has_for_it_in_time(
    surveyed: Sequence[Surveyed], board: str, title: str
) -> None:
    (model,) = (m for m in surveyed if (m.board.name, m.model.title) == (board, title))
    assert model.faults == ()
    assert model.out_of_order == (), "the kernel defers these; load the supplier first"
    assert all(
        need.state.early for name in ("card", "usb-disk") for need in model.needs.get(name, ())
    )


def test_the_page_has_the_results_of_the_survey(surveyed: Sequence[Surveyed]) -> None:
    assert PAGE.read_text() == driver_reference(surveyed), "run: make docs-drivers"


def without(name: str, module: str) -> Board:
    """Return a shipped board that does not load `module`."""
    board = load_board(name)
    lists = {field: tuple(n for n in names if n != module) for field, names in board.modules}
    modules = board.modules.model_copy(update=lists)
    assert modules != board.modules
    return board.model_copy(update={"modules": modules})


@pytest.mark.parametrize(
    ("name", "module", "fault"),
    [
        ("pi3", "fixed", "fixed belongs to boot: card needs it (/fixed-regulator)"),
        ("pi4", "gpio-regulator", "gpio_regulator belongs to boot: card needs it"),
        ("pi5", "gpio-brcmstb", "gpio_brcmstb belongs to boot: card needs it"),
        ("pi5", "irq-bcm2712-mip", "irq_bcm2712_mip belongs to boot: /axi/pcie@1000120000"),
        ("pi5", "clk-rp1", "clk_rp1 belongs to late: ethernet needs it"),
        ("pi4", "broadcom", "broadcom belongs to late: ethernet needs it (mdio:"),
        ("pi4", "reset-raspberrypi", "reset_raspberrypi belongs to late: usb needs it"),
        ("pi4", "reset-raspberrypi", "reset_raspberrypi belongs to other_disks: usb-disk needs it"),
        ("pi4", "nvme", "nvme belongs to other_disks: nvme needs it (pci:"),
        ("pi3", "dwc2", "dwc2 belongs to other_disks: usb-disk needs it"),
        ("pi5", "sd_mod", "sd_mod belongs to other_disks: usb-disk needs it (scsi:"),
    ],
)
def test_a_module_that_is_left_out_is_missed(
    used: Kernels, name: str, module: str, fault: str
) -> None:
    models = survey(without(name, module), used, Runner())
    faults = [sentence for model in models for sentence in model.faults]
    assert any(sentence.startswith(fault) for sentence in faults), faults


def test_the_image_has_a_table_for_what_the_kernel_says_is_built_in(
    used: Kernels,
) -> None:
    """Two sources: the list of newer kernels, and the tables in the image."""
    kernel = used[load_board("pi5").kernel]
    lists = Builder(kernel.job.store, kernel.job.runner).build(KernelDrivers(kernel.step))
    step = KernelDrivers(kernel.step)
    text = lists.file(step, "built-in").read_text()
    listed = set(re.findall(r" of:N\*T\*C(\S+?)(?:C\*)?\n", text))
    image = set(lists.file(step, "image").read_text().splitlines())
    assert len(listed) > 1000
    assert listed - image == set()


@pytest.mark.parametrize(
    "compatible",
    ["arm,gic-400", "brcm,bcm2836-armctrl-ic", "brcm,bcm2711-cprman", "brcm,bcm2835-mbox",
     "raspberrypi,bcm2835-firmware", "simple-bus", "brcm,bcm2711-pcie", "arm,armv8-timer"],
)  # fmt: skip
def test_drivers_that_no_list_has_are_read_out_of_the_image(used: Kernels, compatible: str) -> None:
    node = Node("x", None, {"compatible": compatible.encode() + b"\0"})
    assert used[load_board("pi4").kernel].drivers.of_node(node)


def as_source(node: Node) -> str:
    """Return the node as a source whose values are bytes."""
    values = ((name, value.hex(" ")) for name, value in node.properties.items())
    lines = "".join(f"{name} = [{value}];\n" if value else f"{name};\n" for name, value in values)
    children = "".join(map(as_source, node.children.values()))
    return f"{node.name or '/'} {{\n{lines}{children}}};\n"


def dtc(data: bytes, form: str, out: str) -> bytes:
    done = subprocess.run(
        ["dtc", "-q", "-s", "-I", form, "-O", out], input=data, capture_output=True, check=True
    )
    return done.stdout


def shown(blob: bytes) -> list[str]:
    """Return the lines of the sorted tree, without the list of reserved memory."""
    lines = dtc(blob, "dtb", "dts").decode().splitlines()
    return [line for line in lines if not line.startswith("/memreserve/")]


def test_every_tree_is_read_as_dtc_reads_it(used: Kernels) -> None:
    trees = [(kernel, name) for kernel in used.values() for name in kernel.step.device_trees]
    assert len(trees) >= 8
    for kernel, name in trees:
        blob = kernel.job.file(kernel.step, name).read_bytes()
        again = f"/dts-v1/;\n{as_source(read_tree(blob, name).root)}".encode()
        assert shown(dtc(again, "dts", "dtb")) == shown(blob)
