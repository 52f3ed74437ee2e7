from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from piimage.errors import PiimageError
from piimage.firmware.fdt import Node, Tree, read_tree
from piimage.hardware.suppliers import device_of, needs, path_to, suppliers
from tests.unit.firmware.cards import blob
from tests.unit.hardware.trees import BOARD, tree


@pytest.fixture(scope="module")
def board() -> Tree:
    return tree()


def names(nodes: tuple[Node, ...]) -> list[str]:
    return [node.name for node in nodes]


def devices(board: Tree) -> list[Node]:
    return [node for node in board.nodes() if device_of(node) is node]


def node_of(board: Tree, name: str) -> Node:
    node = board.find(name)
    assert node is not None
    return node


def test_every_kind_of_supplier_is_found_but_disabled_ones(board: Tree) -> None:
    assert sorted(names(suppliers(board, node_of(board, "mmc0")))) == [
        "clocks@3", "controller@0", "gpio@2", "oscillator", "sequence", "supply",
    ]  # fmt: skip


def test_the_bus_comes_before_the_suppliers(board: Tree) -> None:
    assert names(needs(board, node_of(board, "slow"))) == ["soc", "lazy@6"]


def test_a_part_of_a_device_counts_for_it_and_a_device_below_it_does_not(board: Tree) -> None:
    assert names(suppliers(board, node_of(board, "keys"))) == ["gpio@2"]
    assert device_of(node_of(board, "card_pins")) is node_of(board, "gpio")
    assert device_of(board.root) is None


def test_a_gpio_that_is_set_once_and_for_all_names_no_supplier(board: Tree) -> None:
    assert names(suppliers(board, node_of(board, "gpio"))) == []


def test_what_pci_finds_is_a_device_of_its_own(board: Tree) -> None:
    assert names(suppliers(board, node_of(board, "bridge"))) == ["controller@0"]
    assert names(path_to(board, node_of(board, "ethernet0"))) == [
        "soc", "controller@0", "bridge@7", "lazy@6", "net@0",
    ]  # fmt: skip


def test_everything_comes_after_what_it_needs(board: Tree) -> None:
    for node in devices(board):
        order = path_to(board, node)
        for place, device in enumerate(order):
            behind = set(needs(board, device)) & set(order[place + 1 :])
            assert names(tuple(behind)) in ([], ["left@9"], ["right@a"])
        assert order[-1] is node


def test_a_circle_ends(board: Tree) -> None:
    assert set(names(path_to(board, node_of(board, "left")))) == {"soc", "left@9", "right@a"}


@pytest.mark.provokes("firmware.bad-device-tree")
def test_a_supplier_that_is_not_there_is_an_error() -> None:
    source = BOARD.replace("resets = <&lazy 1>", "resets = <77 1>")
    broken = tree(source)
    with pytest.raises(PiimageError, match="/soc/slow@5 refers to a missing phandle 77") as caught:
        path_to(broken, node_of(broken, "slow"))
    assert caught.value.code == "firmware.bad-device-tree"


WHOLE = blob(BOARD)


@given(st.lists(st.tuples(st.integers(0, len(WHOLE) - 1), st.integers(1, 255)), max_size=6))
def test_a_damaged_tree_is_walked_or_refused(flips: list[tuple[int, int]]) -> None:
    damaged = bytearray(WHOLE)
    for at, bits in flips:
        damaged[at] ^= bits
    try:
        board = read_tree(bytes(damaged), "x.dtb")
        for node in devices(board):
            assert path_to(board, node)[-1] is node
    except PiimageError as error:
        assert error.code == "firmware.bad-device-tree"
