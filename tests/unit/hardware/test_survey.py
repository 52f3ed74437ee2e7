from __future__ import annotations

import pytest

from piimage.boards import load_board
from piimage.cli.driver_reference import driver_reference
from piimage.hardware.functions import Late, Need, State
from piimage.hardware.survey import Surveyed, pis

PI4 = load_board("pi4")
GOOD = Need("/soc/mmc", State.BOOT, "sdhci_iproc")


def surveyed(late: tuple[Late, ...] = (), model: int = 0, **needs: Need) -> Surveyed:
    by_function = {name: (need,) for name, need in needs.items()}
    return Surveyed(PI4, PI4.models[model], "6.12.118+deb13-arm64", by_function, late, ())


def test_every_shipped_pi_says_what_its_card_is() -> None:
    assert {board.name for board in pis()} == {"pi3", "pi4", "pi5", "zero2w"}
    assert {board.functions["card"].stage for board in pis()} == {"boot"}
    assert {board.functions["usb-disk"].stage for board in pis()} == {"other_disks"}


@pytest.mark.parametrize(
    ("name", "state", "fault"),
    [
        ("card", State.LATE, "m belongs to boot: card needs it (x)"),
        ("card", State.NOT_LOADED, "m belongs to boot: card needs it (x)"),
        ("usb", State.NOT_LOADED, "m belongs to late: usb needs it (x)"),
        ("usb", State.LATE, None),
        ("wifi", State.WIFI, None),
        ("card", State.BOOT, None),
        ("usb-disk", State.BOOT, None),
        ("usb-disk", State.LATE, "m belongs to other_disks: usb-disk needs it (x)"),
    ],
)
def test_a_module_in_the_wrong_list_is_a_fault(name: str, state: State, fault: str | None) -> None:
    faults = surveyed(**{name: Need("x", state, "m")}).faults
    assert faults == (() if fault is None else (fault,))


def test_what_the_kernel_does_not_have_is_no_fault_of_the_board() -> None:
    assert surveyed(usb=Need("x", State.NO_DRIVER, "")).faults == ()


def test_a_supplier_that_comes_late_is_a_fault() -> None:
    model = surveyed(late=(Late("/pcie", "/mip", "irq_mip"),), card=GOOD)
    assert model.faults == ("irq_mip belongs to boot: /pcie, built in, needs /mip",)


def test_the_page_says_what_works_and_why_something_does_not() -> None:
    page = driver_reference(
        [
            surveyed(card=GOOD, usb=Need("pci:v1", State.NO_DRIVER, "")),
            surveyed(model=2, card=GOOD, spi=Need("spi0", State.OFF, "")),
        ]
    )
    first, second = (line for line in page.splitlines() if line.startswith("| Raspberry"))
    assert first.startswith("| Raspberry Pi 4 Model B | 6.12 | yes | **no** |")
    assert second.startswith("| Raspberry Pi Compute Module 4 | 6.12 | yes | \N{EN DASH} |")
    assert "- Raspberry Pi 4 Model B: usb: Debian's kernel has no driver for `pci:v1`." in page
    assert "4: spi: `spi0` is off in Debian's device tree." in page
    assert "| card | *sdhci_iproc* |" in page
