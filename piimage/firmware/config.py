"""The syntax of config.txt and autoboot.txt: settings under conditional filters.

Source: Raspberry Pi documentation, "config.txt": file format, conditional filters, boot options,
device trees, overlays and parameters, autoboot.txt.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Final

MAX_LINE: Final = 98
"""The characters of a line that the firmware reads; it ignores the rest."""
MAX_AUTOBOOT: Final = 512
"""The maximum size of autoboot.txt in bytes."""
_MAX_DEPTH: Final = 8
_MAX_LINES: Final = 100_000
_SETTING: Final = re.compile(r"([A-Za-z0-9_]+(?::\d)?)\s*=\s*(.*)")
_COMMAND: Final = re.compile(r"(include|initramfs)\s+(.*)")
_UNKNOWN: Final = "unknown"
_MODELS: Final = re.compile(r"pi\d+\+?|pi0w|pi02|cm[\d+sl]*")


@dataclass(frozen=True)
class Conditions:
    """The conditions that the filters of a file test."""

    models: frozenset[str] = frozenset()
    """The model filters that match, such as pi4 and board-type=0x11."""
    tryboot: bool = False
    partition: int = 1
    knows_tryboot: bool = True
    """Whether [tryboot] is a known filter: an old boot loader ignores only that line."""


@dataclass(frozen=True)
class Setting:
    """One active setting: its name in lower case, its value, and ``file:line``."""

    name: str
    value: str
    place: str


@dataclass(frozen=True)
class Settings:
    """The active settings of a file, in order, and remarks on lines that the firmware ignores."""

    items: tuple[Setting, ...] = ()
    remarks: tuple[str, ...] = ()

    def last(self, name: str) -> Setting | None:
        """Return the last setting of `name`, which is the one that counts."""
        return next((item for item in reversed(self.items) if item.name == name), None)

    def text(self, name: str, default: str = "") -> str:
        """Return the value of `name`."""
        setting = self.last(name)
        return setting.value if setting is not None else default

    def number(self, name: str, default: int) -> int:
        """Return the value of `name` as a number; as for the firmware, other text is 0."""
        setting = self.last(name)
        if setting is None:
            return default
        match = re.match(r"0[xX][0-9a-fA-F]{1,16}|\d{1,18}", setting.value)
        return int(match[0], 16 if match[0][:2].lower() == "0x" else 10) if match else 0


@dataclass
class _Filters:
    """The filters in force: one of each kind; a setting is active if all of them match."""

    conditions: Conditions
    matches: dict[str, bool] = field(default_factory=dict)

    def apply(self, name: str) -> str | None:
        """Put the filter `name` in force; return a remark if it is unknown."""
        if name == "all":
            self.matches.clear()
            return None
        if name == "tryboot" and not self.conditions.knows_tryboot:
            return "this boot loader does not know the filter [tryboot]"
        kind, matches = self._match(name)
        self.matches[kind] = matches
        return f"unknown filter [{name}]" if kind == _UNKNOWN else None

    def all_match(self) -> bool:
        return all(self.matches.values())

    def _match(self, name: str) -> tuple[str, bool]:
        """Return the kind of the filter `name`, and whether it matches."""
        if name.startswith("board-type="):
            return "board-type", name in self.conditions.models
        if name in self.conditions.models or _MODELS.fullmatch(name):
            return "model", name in self.conditions.models
        if match := re.fullmatch(r"partition=(\d{1,9})", name):
            return "partition", int(match[1]) == self.conditions.partition
        if name == "tryboot":
            return name, self.conditions.tryboot
        # These filters never match: the hardware is not known here.
        known = re.fullmatch(r"none|0x[0-9a-f]+|gpio\d+=[01]|edid=.*", name)
        return (name.partition("=")[0] if known else _UNKNOWN), False


def parse(
    text: bytes,
    name: str,
    conditions: Conditions,
    include: Callable[[str], bytes | None] = lambda path: None,
) -> Settings:
    """Return the settings in `text`, the file `name`, that are active under `conditions`.

    `include` returns the content of an included file, or None. No line is an error to the
    firmware; the remarks tell which lines it ignores.
    """
    parser = _Parser(_Filters(conditions), include)
    parser.read(text, name, 0)
    return Settings(tuple(parser.items), tuple(parser.remarks))


@dataclass
class _Parser:
    filters: _Filters
    include: Callable[[str], bytes | None]
    items: list[Setting] = field(default_factory=list)
    remarks: list[str] = field(default_factory=list)
    lines: int = 0

    def read(self, text: bytes, name: str, depth: int) -> None:
        for place, line in _lines(text, name):
            self.lines += 1
            if self.lines > _MAX_LINES:
                return
            if len(line) > MAX_LINE:
                self.remarks.append(f"{place}: only the first {MAX_LINE} characters are read")
            self._line(line[:MAX_LINE].strip(), place, depth)

    def _line(self, line: str, place: str, depth: int) -> None:
        if not line or line.startswith("#"):
            return
        if line.startswith("[") and line.endswith("]"):
            remark = self.filters.apply(line[1:-1].strip().lower())
            if remark:
                self.remarks.append(f"{place}: {remark}")
        elif match := _SETTING.fullmatch(line):
            if self.filters.all_match():
                self.items.append(Setting(match[1].lower(), match[2].strip(), place))
        elif match := _COMMAND.fullmatch(line):
            if self.filters.all_match():
                self._command(match[1], match[2].strip(), place, depth)
        else:
            self.remarks.append(f"{place}: not understood: {line}")

    def _command(self, command: str, value: str, place: str, depth: int) -> None:
        if command == "initramfs":
            # The line has no "=", so it is kept under a name that no setting can have.
            self.items.append(Setting("initramfs ", value, place))
            return
        content = self.include(value) if depth < _MAX_DEPTH else None
        if content is None:
            self.remarks.append(f"{place}: cannot include {value}")
            return
        self.read(content, value, depth + 1)


def _lines(text: bytes, name: str) -> Iterator[tuple[str, str]]:
    decoded = text.decode("utf-8", errors="replace")
    for number, line in enumerate(re.split(r"\r\n|\r|\n", decoded), start=1):
        yield f"{name}:{number}", line


def initramfs_of(settings: Settings) -> str | None:
    """Return the file of the last ``initramfs FILE followkernel`` line."""
    setting = settings.last("initramfs ")
    words = setting.value.split() if setting is not None else []
    return words[0] if words else None


@dataclass(frozen=True)
class Overlay:
    """An overlay to apply: its name and its parameters."""

    name: str
    parameters: Mapping[str, str]
    place: str


def overlays_of(settings: Settings) -> tuple[Overlay, ...]:
    """Return the overlays of the `dtoverlay` and `dtparam` lines, in order.

    Parameters before the first overlay, and after an empty ``dtoverlay=``, belong to the base
    device tree: they are returned with the empty name.
    """
    overlays: list[Overlay] = []
    for item in settings.items:
        if item.name == "dtoverlay":
            name, *words = re.split(r"[:,]", item.value)
            overlays.append(Overlay(name.strip(), _parameters(words), item.place))
        elif item.name == "dtparam":
            words = item.value.split(",")
            if not overlays:
                overlays.append(Overlay("", {}, item.place))
            merged = {**overlays[-1].parameters, **_parameters(words)}
            overlays[-1] = replace(overlays[-1], parameters=merged)
    return tuple(overlay for overlay in overlays if overlay.name or overlay.parameters)


def _parameters(words: list[str]) -> dict[str, str]:
    pairs = (word.partition("=") for word in words if word.strip())
    return {name.strip(): value.strip() for name, _, value in pairs}
