from __future__ import annotations

import pytest

from piimage.board import Function
from piimage.hardware.functions import Examiner, Image, Late, Need, State
from tests.unit.hardware.trees import drivers, tree

CARD = Function(nodes=("mmc0",), stage="boot")


def examiner(boot: tuple[str, ...] = (), late: tuple[str, ...] = ()) -> Examiner:
    return Examiner(tree(), drivers(), Image(boot, late, ("brcm",)))


def states(needs: tuple[Need, ...]) -> dict[str, State]:
    return {need.name.rpartition("/")[2]: need.state for need in needs}


def test_each_need_has_the_state_of_its_driver() -> None:
    by_name = states(examiner(boot=("supply",), late=("mmc",)).needs(CARD))
    assert by_name["supply"] is State.BOOT
    assert by_name["mmc@1"] is State.LATE
    assert {state for name, state in by_name.items() if name not in ("supply", "mmc@1")} == {
        State.BUILT_IN
    }


@pytest.mark.parametrize(
    ("function", "name", "state"),
    [
        (CARD, "mmc@1", State.NOT_LOADED),
        (Function(nodes=("left",)), "left@9", State.NO_DRIVER),
        (Function(nodes=("spi0",)), "spi0", State.NO_NODE),
        (Function(nodes=("dead",)), "dead", State.OFF),
        (Function(devices=("usb:v0424p7800d1",)), "usb:v0424p7800d1", State.NO_DRIVER),
        (Function(modules=("lazy", "none")), "lazy", State.NOT_LOADED),
        (Function(modules=("lazy", "none")), "none", State.NO_DRIVER),
    ],
)
def test_a_need_that_does_not_work_has_the_reason(
    function: Function, name: str, state: State
) -> None:
    assert states(examiner().needs(function))[name] is state
    assert not state.works


def test_a_built_in_device_must_not_wait_for_a_module_of_the_running_system() -> None:
    slow = Function(nodes=("slow",))
    late = (Late("/soc/slow@5", "/soc/lazy@6", "lazy"),)
    assert examiner(late=("lazy",)).late_suppliers(slow) == late
    assert examiner().late_suppliers(slow) == late
    assert examiner(boot=("lazy",)).late_suppliers(slow) == ()
    assert examiner(late=("supply", "mmc")).late_suppliers(CARD) == ()


def test_the_modules_of_other_disks_are_loaded_only_if_one_is_booted() -> None:
    image = Image(("supply",), (), (), ("mmc", "supply"))
    assert states(Examiner(tree(), drivers(), image).needs(CARD))["mmc@1"] is State.NOT_LOADED
    booted = image.booted_from_another_disk()
    assert states(Examiner(tree(), drivers(), booted).needs(CARD))["mmc@1"] is State.BOOT
    assert booted.boot == ("supply", "mmc")


def test_a_module_before_its_supplier_is_named() -> None:
    assert examiner(boot=("mmc", "supply")).out_of_order(CARD) == (("mmc", "supply"),)
    assert examiner(boot=("supply", "mmc")).out_of_order(CARD) == ()
    assert examiner(boot=("mmc",), late=("supply", "mmc")).out_of_order(CARD) == (
        ("mmc", "supply"),
    )
