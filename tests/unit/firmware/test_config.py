from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from piimage.firmware.config import Conditions, Overlay, Settings, initramfs_of, overlays_of, parse
from tests.examples import examples

PI4 = Conditions(frozenset({"pi4"}))


def values(text: str, conditions: Conditions = PI4) -> list[tuple[str, str]]:
    return [(s.name, s.value) for s in parse(text.encode(), "config.txt", conditions).items]


GOOD: tuple[tuple[str, str, list[tuple[str, str]]], ...] = (
    ("nothing", "", []),
    ("a comment", "# kernel=x\n", []),
    ("a setting", "kernel=k.img", [("kernel", "k.img")]),
    ("blanks around", "  kernel =  k.img  \n", [("kernel", "k.img")]),
    ("lines of DOS", "a=1\r\nb=2\r\n", [("a", "1"), ("b", "2")]),
    ("capitals in the name", "Kernel=K.img", [("kernel", "K.img")]),
    ("an equals sign in the value", "dtparam=a=b", [("dtparam", "a=b")]),
    ("an empty value", "device_tree=", [("device_tree", "")]),
    ("the model's filter", "[pi4]\na=1", [("a", "1")]),
    ("another model's filter", "[pi3]\na=1\n[all]\nb=2", [("b", "2")]),
    ("a filter in capitals", "[PI4]\na=1\n[Pi3]\nb=1", [("a", "1")]),
    ("a model replaces a model", "[pi3]\n[pi4]\na=1", [("a", "1")]),
    ("none until all", "[none]\na=1\n[all]\nb=2", [("b", "2")]),
    ("different kinds add up", "[pi4]\n[tryboot]\na=1", []),
    ("a model does not undo tryboot", "[tryboot]\na=1\n[pi4]\nb=2", []),
    ("all undoes everything", "[tryboot]\n[pi3]\n[all]\na=1", [("a", "1")]),
    ("the booted partition", "[partition=1]\na=1\n[partition=2]\nb=2", [("a", "1")]),
    ("a kind of board", "[board-type=0xe]\na=1", []),
    ("a serial number", "[0x1234abcd]\na=1", []),
    ("a pin", "[gpio4=1]\na=1\n[all]\nb=2", [("b", "2")]),
    ("a newer model", "[cm5]\na=1\n[pi500]\nb=1\n[pi5]\nc=1", []),
    ("an initramfs", "initramfs i.img followkernel", [("initramfs ", "i.img followkernel")]),
)


@pytest.mark.parametrize(("_case", "text", "expected"), GOOD, ids=[good[0] for good in GOOD])
def test_lines_that_the_firmware_understands(
    _case: str, text: str, expected: list[tuple[str, str]]
) -> None:
    assert values(text) == expected
    assert parse(text.encode(), "config.txt", PI4).remarks == ()


IGNORED = (
    ("an unknown filter", "[pie]\na=1\n[all]\nb=2", [("b", "2")], "unknown filter"),
    ("a word alone", "hello\nb=2", [("b", "2")], "not understood"),
    ("an absent include", "include no.txt\nb=2", [("b", "2")], "cannot include"),
    ("a long line", "a=" + "x" * 120, [("a", "x" * 96)], "98 characters"),
)


@pytest.mark.parametrize(
    ("_case", "text", "expected", "remark"), IGNORED, ids=[bad[0] for bad in IGNORED]
)
def test_lines_that_the_firmware_ignores_give_a_remark(
    _case: str, text: str, expected: list[tuple[str, str]], remark: str
) -> None:
    settings = parse(text.encode(), "config.txt", PI4)
    assert [(s.name, s.value) for s in settings.items] == expected
    assert remark in settings.remarks[0]
    assert settings.remarks[0].startswith("config.txt:1: ")


def test_an_included_file_inherits_and_changes_the_filters() -> None:
    files = {"more.txt": b"a=1\n[pi3]\nb=2\n"}
    text = b"[pi4]\ninclude more.txt\nc=3\n[all]\nd=4"
    settings = parse(text, "config.txt", PI4, files.get)
    assert [(s.name, s.place) for s in settings.items] == [
        ("a", "more.txt:1"),
        ("d", "config.txt:5"),
    ]


def test_files_that_include_each_other_are_not_read_endlessly() -> None:
    files = {"a": b"include b\ninclude b\nx=1", "b": b"include a\ninclude a\ny=1"}
    settings = parse(files["a"], "a", PI4, files.get)
    assert any("cannot include" in remark for remark in settings.remarks)


def test_the_filter_tryboot_matches_only_with_tryboot() -> None:
    text = "[all]\nboot_partition=2\n[tryboot]\nboot_partition=3"
    assert parse(text.encode(), "f", Conditions()).number("boot_partition", 0) == 2
    assert parse(text.encode(), "f", Conditions(tryboot=True)).number("boot_partition", 0) == 3


@pytest.mark.parametrize(
    ("value", "number"),
    [("1", 1), ("0x10", 16), ("2 # two", 2), ("yes", 0), ("", 0), ("9" * 30, 10**18 - 1)],
)
def test_the_leading_digits_of_a_value_are_its_number(value: str, number: int) -> None:
    assert parse(f"a={value}".encode(), "f", PI4).number("a", 7) == number


def test_the_last_setting_counts() -> None:
    settings = parse(b"kernel=a\nkernel=b", "f", PI4)
    assert settings.text("kernel") == "b"
    assert settings.text("absent", "x") == "x"
    assert initramfs_of(parse(b"initramfs a.img\ninitramfs b.img 0x100", "f", PI4)) == "b.img"
    assert initramfs_of(Settings()) is None


def test_overlays_keep_their_order_and_parameters() -> None:
    text = b"dtparam=audio=on\ndtoverlay=spi0:cs=1,speed=5\ndtparam=x\ndtoverlay=i2c1\ndtoverlay=\n"
    assert overlays_of(parse(text, "f", PI4)) == (
        Overlay("", {"audio": "on"}, "f:1"),
        Overlay("spi0", {"cs": "1", "speed": "5", "x": ""}, "f:2"),
        Overlay("i2c1", {}, "f:4"),
    )


LINES = st.sampled_from(
    ["[all]", "[pi4]", "[none]", "[tryboot]", "include a", "initramfs x", "dtoverlay=a:b=c", "a=1"]
)


@settings(max_examples=examples(150), deadline=None)
@given(
    st.binary(max_size=300)
    | st.lists(LINES | st.text(max_size=20)).map(lambda lines: "\n".join(lines).encode())
)
def test_any_bytes_are_a_configuration(text: bytes) -> None:
    settings = parse(text, "config.txt", PI4, lambda path: text[:50])
    overlays_of(settings)
    initramfs_of(settings)
    settings.number("a", 0)


def test_a_line_has_98_characters() -> None:
    text = "a=" + "x" * 96
    assert parse(text.encode(), "f", PI4).remarks == ()
    longer = parse(f"{text}y".encode(), "f", PI4)
    assert longer.remarks == ("f:1: only the first 98 characters are read",)
    assert longer.text("a") == "x" * 96


def test_includes_are_followed_eight_deep() -> None:
    files = {f"f{n}": f"include f{n + 1}\nx{n}=1".encode() for n in range(12)}
    found = parse(files["f0"], "f0", PI4, files.get)
    assert [item.name for item in found.items] == [f"x{n}" for n in range(8, -1, -1)]
    assert found.remarks == ("f8:1: cannot include f9",)


def test_a_hundred_thousand_lines_are_read() -> None:
    last = parse(b"\n" * 99_999 + b"a=1\nb=1", "f", PI4)
    assert [item.name for item in last.items] == ["a"]


@pytest.mark.parametrize(
    ("value", "number"),
    [("0xfF", 255), ("0XA", 10), ("0x" + "1" * 17, int("1" * 16, 16)), ("1" * 19, int("1" * 18)),
     ("-1", 0), ("0", 0), ("0x", 0), ("7b", 7)],
)  # fmt: skip
def test_numbers(value: str, number: int) -> None:
    assert parse(f"a={value}".encode(), "f", PI4).number("a", 5) == number
    assert parse(b"", "f", PI4).number("a", 5) == 5


@pytest.mark.parametrize(
    "name",
    ["pi1", "pi2", "pi3+", "pi0", "pi0w", "pi02", "pi500", "cm1", "cm3+", "cm4s", "cm0", "cm5l"],
)
def test_filters_of_other_models_replace_that_of_this_one(name: str) -> None:
    found = parse(f"[pi4]\n[{name}]\na=1".encode(), "f", PI4)
    assert (found.items, found.remarks) == ((), ())
    assert values(f"[{name}]\n[pi4]\na=1") == [("a", "1")]


@pytest.mark.parametrize("name", ["none", "0xabc1", "gpio4=0", "gpio17=1", "edid=a b", "EDID=x"])
def test_filters_of_what_is_not_known_here_never_match(name: str) -> None:
    found = parse(f"[{name}]\na=1\n[all]\nb=1".encode(), "f", PI4)
    assert [item.name for item in found.items] == ["b"]
    assert found.remarks == ()


@pytest.mark.parametrize(
    "name", ["pie", "gpio4=2", "gpio=1", "0xg", "partition=1234567890", "nones"]
)
def test_filters_that_nobody_knows_never_match_and_are_told(name: str) -> None:
    found = parse(f"[{name}]\na=1".encode(), "f", PI4)
    assert found.items == ()
    assert found.remarks == (f"f:1: unknown filter [{name}]",)


def test_a_board_type_is_that_of_the_model() -> None:
    board = Conditions(frozenset({"board-type=0x11"}))
    assert values("[board-type=0x11]\na=1\n[board-type=0x12]\nb=1", board) == [("a", "1")]
    assert values("[board-type=0x12]\n[pi4]\na=1") == []


@pytest.mark.parametrize(
    "line", ["audio:1=2", "a b=1", "a-b=1", "include", "initramfs", "=1", "[pi4", "pi4]", "["]
)
def test_names_of_settings(line: str) -> None:
    found = parse(line.encode(), "f", PI4)
    if line == "audio:1=2":
        assert [(s.name, s.value) for s in found.items] == [("audio:1", "2")]
    else:
        assert found.remarks == (f"f:1: not understood: {line}",)
