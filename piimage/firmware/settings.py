"""The rules for lines that the YAML adds to config.txt, for `piimage check` and the writer.

Source: Raspberry Pi documentation, "config.txt": file format, boot options.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from piimage.firmware.config import MAX_LINE

OVERLAY: Final = "dtoverlay"
"""The setting that `boot: overlays:` stands for."""

PARAMETER: Final = "dtparam"
"""A setting that has no effect on device trees and overlays without ``__overrides__``."""

RESERVED: Final = frozenset(
    {"arm_64bit", "boot_partition", "cmdline", "device_tree", "include", "initramfs", "kernel",
     "os_prefix", "overlay_prefix", "ramfsaddr", "ramfsfile", "tryboot_a_b", "upstream_kernel"}
)  # fmt: skip
"""The settings that piimage writes: with a second value, a card would not boot."""

# Keys of HDMI may name the port; only the two licences have capitals.
_KEY: Final = re.compile(r"[a-z][a-z0-9_]*|hdmi_[a-z0-9_]+:[01]|decode_(?:MPG2|WVC1)")
_WORDS: Final = {"true": "1", "yes": "1", "on": "1", "false": "0", "no": "0", "off": "0"}
"""YAML's words for yes and no; the firmware reads numbers, and a word as 0."""
_VALUE: Final = re.compile(r"[ -~]*")


@dataclass(frozen=True)
class Fault:
    """The reason why a line cannot be written, and the alternative."""

    message: str
    instead: str
    of_value: bool = False
    too_long: bool = False


def fault(key: str, value: str) -> Fault | None:
    """Return the fault of the line ``key=value``, if it has one."""
    if key.lower() == OVERLAY:
        name, _, parameters = value.partition(",")
        own = "; write the parameters into an overlay of your own (docs/boards.md)"
        return Fault(
            f"{key!r} cannot be set in config.txt",
            f"boot: {{ overlays: [{_overlay(name)}] }}{own if parameters else ''}",
            of_value=True,
        )
    if key.lower() in RESERVED:
        return Fault(
            f"piimage sets {key} itself", "remove it: the board and the slots determine it"
        )
    if not _KEY.fullmatch(key):
        known = key.lower() if _KEY.fullmatch(key.lower()) else "KEY: VALUE, KEY of a-z, 0-9 and _"
        return Fault(f"{key!r} is not a setting of config.txt", known)
    return _of_value(key, value)


def _of_value(key: str, value: str) -> Fault | None:
    if not _VALUE.fullmatch(value):
        return Fault(
            f"the value of {key} has characters that config.txt does not allow",
            "one line of ASCII",
            of_value=True,
        )
    if number := _WORDS.get(value.lower()):
        return Fault(
            f"{key}={value} is not a number, so the firmware reads it as 0", number, of_value=True
        )
    if len(line := f"{key}={value}") > MAX_LINE:
        return Fault(
            f"the firmware reads only {MAX_LINE} characters of a line of config.txt: {line[:40]}…",
            f"a value of at most {MAX_LINE - len(key) - 1} characters",
            of_value=True,
            too_long=True,
        )
    return None


def _overlay(value: str) -> str:
    return value.partition(":")[0].strip() or "NAME"
