"""Which lines the YAML may add to config.txt (documentation, "config.txt")."""

from __future__ import annotations

import pytest

from piimage.firmware.settings import OVERLAY, PARAMETER, RESERVED, Fault, fault


@pytest.mark.parametrize(
    "key",
    ["arm_64bit", "boot_partition", "cmdline", "device_tree", "include", "initramfs", "kernel",
     "os_prefix", "overlay_prefix", "ramfsaddr", "ramfsfile", "tryboot_a_b", "upstream_kernel",
     "Kernel"],
)  # fmt: skip
def test_what_piimage_sets_itself_is_refused(key: str) -> None:
    assert fault(key, "x") == Fault(
        f"piimage sets {key} itself", "remove it: the board and the slots determine it"
    )
    assert len(RESERVED) == 13


@pytest.mark.parametrize(
    ("value", "instead"),
    [
        ("i2c1", "boot: { overlays: [i2c1] }"),
        ("i2c1:a=b", "boot: { overlays: [i2c1] }"),
        ("", "boot: { overlays: [NAME] }"),
        (
            "spi0, x=1",
            "boot: { overlays: [spi0] }; write the parameters into an overlay of your own "
            "(docs/boards.md)",
        ),
    ],
)
def test_overlays_have_their_own_place(value: str, instead: str) -> None:
    assert (OVERLAY, PARAMETER) == ("dtoverlay", "dtparam")
    for key in ("dtoverlay", "DtOverlay"):
        assert fault(key, value) == Fault(
            f"{key!r} cannot be set in config.txt", instead, of_value=True
        )


@pytest.mark.parametrize(
    "key", ["gpu_mem", "a", "hdmi_mode:0", "hdmi_mode:1", "decode_MPG2", "decode_WVC1", "dtparam"]
)
def test_keys_of_config(key: str) -> None:
    assert fault(key, "1") is None


@pytest.mark.parametrize(
    ("key", "instead"),
    [
        ("Gpu_Mem", "gpu_mem"), ("9a", None), ("a-b", None), ("hdmi_mode:2", None), ("", None),
        ("gpu_mem:1", None), ("decode_MPG4", "decode_mpg4"), ("_a", None),
    ],
)  # fmt: skip
def test_keys_that_are_none(key: str, instead: str | None) -> None:
    known = instead or "KEY: VALUE, KEY of a-z, 0-9 and _"
    assert fault(key, "1") == Fault(f"{key!r} is not a setting of config.txt", known)


@pytest.mark.parametrize(
    ("value", "number"),
    [("true", "1"), ("yes", "1"), ("on", "1"), ("false", "0"), ("no", "0"), ("OFF", "0")],
)
def test_words_for_yes_and_no_are_numbers(value: str, number: str) -> None:
    message = f"a={value} is not a number, so the firmware reads it as 0"
    assert fault("a", value) == Fault(message, number, of_value=True)


@pytest.mark.parametrize("value", ["é", "a\nb", "a\tb", "\x7f"])
def test_values_are_one_line_of_ascii(value: str) -> None:
    message = "the value of a has characters that config.txt does not allow"
    assert fault("a", value) == Fault(message, "one line of ASCII", of_value=True)


def test_a_line_has_98_characters() -> None:
    assert fault("key", "~ " * 47) is None
    message = f"the firmware reads only 98 characters of a line of config.txt: key={'~ ' * 18}…"
    instead = "a value of at most 94 characters"
    assert fault("key", "~ " * 47 + "x") == Fault(message, instead, of_value=True, too_long=True)
