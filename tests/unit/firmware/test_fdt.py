from __future__ import annotations

import struct
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from piimage.errors import PiimageError
from piimage.firmware.fdt import Node, read_tree
from piimage.run import Runner
from tests.examples import examples
from tests.unit.firmware.cards import BASE, blob

SOURCE = """/dts-v1/;
/ {
	compatible = "maker,board", "maker,chip";
	#address-cells = <2>;
	aliases { serial0 = "/soc/serial@1"; };
	gic: interrupts { #interrupt-cells = <3>; };
	soc {
		uart: serial@1 { clocks = <&gic 7>; reg = [00 01 02]; status = "okay"; };
		bus: bus@2 { status = "disabled"; chip@9 { on; }; };
	};
};
"""
SIZE = 10 * 4


def tree_of(structure: bytes, **header: int) -> bytes:
    """Return a blob with any structure block; the strings block has ``x``."""
    names = b"x\0"
    fields = {
        "magic": 0xD00DFEED, "total": SIZE + len(structure) + len(names), "structure": SIZE,
        "strings": SIZE + len(structure), "reserve": 0, "version": 17, "oldest": 16, "cpu": 0,
        "strings_size": len(names), "size": len(structure),
    } | header  # fmt: skip
    return struct.pack(">10I", *fields.values()) + structure + names


def tokens(*parts: int | bytes) -> bytes:
    return b"".join(struct.pack(">I", p) if isinstance(p, int) else p for p in parts)


ROOT = tokens(1, bytes(4))


def as_source(node: Node, depth: int = 0) -> str:
    """Return the node as a source whose values are bytes."""
    properties = "".join(
        f"{name} = [{value.hex(' ')}];\n" if value else f"{name};\n"
        for name, value in node.properties.items()
    )
    children = "".join(as_source(child, depth + 1) for child in node.children.values())
    return f"{node.name or '/'} {{\n{properties}{children}}};\n"


def test_a_compiled_tree_is_read(runner: Runner) -> None:
    tree = read_tree(blob(SOURCE), "a.dtb")
    assert tree.root.compatible == ("maker,board", "maker,chip")
    assert tree.root.number("#address-cells", 1) == 2
    assert [node.path for node in tree.nodes()][:4] == ["/", "/aliases", "/interrupts", "/soc"]
    serial = tree.node("/soc/serial@1")
    assert serial is not None
    assert serial.properties["reg"] == b"\0\1\2"
    phandle, line = serial.cells("clocks")
    assert line == 7
    assert tree.by_phandle(phandle, serial) is tree.node("/interrupts")


@pytest.mark.parametrize(
    ("name", "path"),
    [
        ("serial0", "/soc/serial@1"),
        ("uart", "/soc/serial@1"),
        ("bus/chip@9", "/soc/bus@2/chip@9"),
        ("/soc/bus@2", "/soc/bus@2"),
        ("absent", None),
        ("bus/chip@8", None),
        ("/soc/none@3", None),
    ],
)
def test_a_node_is_found_by_alias_label_or_path(
    runner: Runner, name: str, path: str | None
) -> None:
    node = read_tree(blob(SOURCE), "a.dtb").find(name)
    assert (node.path if node else None) == path


def test_a_child_of_a_disabled_node_is_disabled(runner: Runner) -> None:
    tree = read_tree(blob(SOURCE), "a.dtb")
    states = {node.name: node.enabled for node in tree.nodes()}
    assert (states["serial@1"], states["bus@2"], states["chip@9"]) == (True, False, False)


def test_dtc_compiles_the_read_tree_to_the_same_blob(runner: Runner) -> None:
    whole = blob(SOURCE)
    tree = read_tree(whole, "a.dtb")
    again = runner.run(
        ["dtc", "-q", "-I", "dts", "-O", "dtb"], stdin=f"/dts-v1/;\n{as_source(tree.root)}".encode()
    )
    assert again.stdout == whole


@pytest.mark.provokes("firmware.bad-device-tree")
@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "damaged"),
        (bytes(60), "no magic number"),
        (tree_of(ROOT + tokens(2, 9), oldest=18, version=18), "version 18"),
        (tree_of(ROOT + tokens(2, 9), version=16), "version 16"),
        (tree_of(ROOT + tokens(2, 9), size=999), "truncated"),
        (tree_of(ROOT + tokens(2, 9), strings=1 << 31), "truncated"),
        (tree_of(tokens(9)), "no root"),
        (tree_of(tokens(1, b"a\0\0\0", 2, 9)), "no root"),
        (tree_of(ROOT + tokens(2, 2)), "data after its root"),
        (tree_of(ROOT + tokens(7)), "token 7"),
        (tree_of(ROOT + tokens(1, b"a\0\0\0", 2, 1, b"a\0\0\0", 2, 2, 9)), "the name 'a'"),
        (tree_of(ROOT + tokens(1, b"a/b\0", 2, 2, 9)), "the name 'a/b'"),
        (tree_of(ROOT + tokens(1, b"a\0\0\0", 2, 3, 0, 0, 2, 9)), "property 'x'"),
        (tree_of(ROOT + tokens(3, 0, 0, 3, 0, 0, 2, 9)), "property 'x'"),
        (tree_of(ROOT + tokens(3, 1 << 30, 0, 2, 9)), "property 'x'"),
        (tree_of(ROOT + tokens(3, 0, 9, 2, 9)), "damaged"),
        (tree_of(ROOT + tokens(1, b"a\0\0\0") * 70), "token 1"),
    ],
)
def test_an_invalid_tree_is_refused(data: bytes, message: str) -> None:
    with pytest.raises(PiimageError, match=message) as caught:
        read_tree(data, "x.dtb")
    assert caught.value.code == "firmware.bad-device-tree"


@pytest.mark.provokes("firmware.bad-device-tree")
def test_nodes_are_64_deep_at_most() -> None:
    """FDT_MAX_DEPTH of Linux, the root included, whatever nodes came before."""
    before = tokens(*(part for n in range(3) for part in (1, b"%d\0\0\0" % n, 2)))
    for depth, right in ((63, True), (64, False)):
        deep = tokens(*[1, b"a\0\0\0"] * depth, *[2] * depth)
        data = tree_of(ROOT + before + deep + tokens(2, 9))
        if right:
            assert len(list(read_tree(data, "x.dtb").nodes())) == 1 + 3 + 63
        else:
            with pytest.raises(PiimageError, match="token 1 is misplaced"):
                read_tree(data, "x.dtb")


@pytest.mark.provokes("firmware.bad-device-tree")
@pytest.mark.parametrize("name", ["cells", "strings", "by_phandle", "phandles"])
def test_an_invalid_property_is_refused(runner: Runner, name: str) -> None:
    source = "/dts-v1/; / { a { v = [01 02 03]; phandle = <1>; }; b { phandle = <1>; }; };"
    tree = read_tree(blob(SOURCE), "a.dtb")
    twice = read_tree(
        runner.run(["dtc", "-qf", "-I", "dts", "-O", "dtb"], stdin=source.encode()).stdout, "b.dtb"
    )
    node = twice.root.children["a"]
    calls: dict[str, Callable[[], object]] = {
        "cells": lambda: node.cells("v"),
        "strings": lambda: node.strings("v"),
        "by_phandle": lambda: tree.by_phandle(99, tree.root),
        "phandles": lambda: twice.phandles,
    }
    with pytest.raises(PiimageError) as caught:
        calls[name]()
    assert caught.value.code == "firmware.bad-device-tree"


@pytest.fixture(scope="module")
def whole() -> bytes:
    return blob(BASE)


@settings(max_examples=examples(400))
@given(st.data())
def test_a_damaged_tree_is_read_or_refused(whole: bytes, data: st.DataObject) -> None:
    damaged = bytearray(whole)
    for at in data.draw(st.lists(st.integers(0, len(whole) - 1), min_size=1, max_size=4)):
        damaged[at] ^= data.draw(st.integers(1, 255))
    end = data.draw(st.just(len(whole)) | st.integers(0, len(whole)))
    try:
        tree = read_tree(bytes(damaged[:end]), "x.dtb")
        for node in tree.nodes():
            assert node.path.startswith("/")
            assert node.cells("reg") == tuple(node.cells("reg"))
            assert node.enabled in (True, False)
        assert len(tree.phandles) <= len(list(tree.nodes()))
    except PiimageError as error:
        assert error.code == "firmware.bad-device-tree"


@given(st.lists(st.sampled_from([1, 2, 3, 4, 9, 0, b"a\0\0\0", b"bc\0\0", bytes(4)]), max_size=60))
def test_any_run_of_tokens_ends(parts: list[int | bytes]) -> None:
    try:
        read_tree(tree_of(ROOT + tokens(*parts)), "x.dtb")
    except PiimageError as error:
        assert error.code == "firmware.bad-device-tree"
