"""The language of config.txt and autoboot.txt: settings under conditional filters.

Source: Raspberry Pi documentation, "config.txt": file format, conditional filters, boot options,
device trees, overlays and parameters, autoboot.txt.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Final

MAX_LINE: Final = 98
"""Characters of a line that the firmware reads; it ignores the rest."""
MAX_AUTOBOOT: Final = 512
"""Bytes of autoboot.txt that the boot loader accepts."""
_MAX_DEPTH: Final = 8
_MAX_LINES: Final = 100_000
_SETTING: Final = re.compile(r"([A-Za-z0-9_]+(?::\d)?)\s*=\s*(.*)")
_COMMAND: Final = re.compile(r"(include|initramfs)\s+(.*)")
_UNKNOWN: Final = "unknown"
_MODELS: Final = re.compile(r"pi\d+\+?|pi0w|pi02|cm[\d+sl]*")


@dataclass(frozen=True)
class Conditions:
    """What the filters of a file are held against."""

    models: frozenset[str] = frozenset()
    """The model filters that hold, such as pi4 and board-type=0x11."""
    tryboot: bool = False
    partition: int = 1
    knows_tryboot: bool = True
    """Whether [tryboot] is a filter at all: an old boot loader passes over that line alone."""


@dataclass(frozen=True)
class Setting:
    """One setting that holds: its name in lower case, its value, and ``file:line``."""

    name: str
    value: str
    place: str


@dataclass(frozen=True)
class Settings:
    """The settings of a file that hold, in order, and what the firmware would pass over."""

    items: tuple[Setting, ...] = ()
    remarks: tuple[str, ...] = ()

    def last(self, name: str) -> Setting | None:
        """Return the last setting of `name`, which is the one that counts."""
        return next((item for item in reversed(self.items) if item.name == name), None)

    def text(self, name: str, default: str = "") -> str:
        """Return the value of `name`."""
        found = self.last(name)
        return found.value if found is not None else default

    def number(self, name: str, default: int) -> int:
        """Return the value of `name` as the firmware reads numbers; nonsense is 0."""
        found = self.last(name)
        if found is None:
            return default
        match = re.match(r"0[xX][0-9a-fA-F]{1,16}|\d{1,18}", found.value)
        return int(match[0], 16 if match[0][:2].lower() == "0x" else 10) if match else 0


@dataclass
class _Filters:
    """The filters in force: one of each kind, and all of them must hold."""

    conditions: Conditions
    held: dict[str, bool] = field(default_factory=dict)

    def apply(self, name: str) -> str | None:
        """Take the filter `name` into account; return a remark if it is unknown."""
        if name == "all":
            self.held.clear()
            return None
        if name == "tryboot" and not self.conditions.knows_tryboot:
            return "this boot loader does not know the filter [tryboot]"
        kind, holds = self._judge(name)
        self.held[kind] = holds
        return f"unknown filter [{name}]" if kind == _UNKNOWN else None

    def hold(self) -> bool:
        return all(self.held.values())

    def _judge(self, name: str) -> tuple[str, bool]:
        """Return the kind of the filter `name`, and whether it holds."""
        if name.startswith("board-type="):
            return "board-type", name in self.conditions.models
        if name in self.conditions.models or _MODELS.fullmatch(name):
            return "model", name in self.conditions.models
        if match := re.fullmatch(r"partition=(\d{1,9})", name):
            return "partition", int(match[1]) == self.conditions.partition
        if name == "tryboot":
            return name, self.conditions.tryboot
        # Of these, none holds: there is no such hardware here.
        known = re.fullmatch(r"none|0x[0-9a-f]+|gpio\d+=[01]|edid=.*", name)
        return (name.partition("=")[0] if known else _UNKNOWN), False


def parse(
    text: bytes,
    name: str,
    conditions: Conditions,
    include: Callable[[str], bytes | None] = lambda path: None,
) -> Settings:
    """Return the settings of `text`, the content of the file `name`, that hold under `conditions`.

    `include` gives the content of an included file, or None. Nothing is an error to the firmware;
    what it passes over is in the remarks.
    """
    reading = _Reading(_Filters(conditions), include)
    reading.read(text, name, 0)
    return Settings(tuple(reading.items), tuple(reading.remarks))


@dataclass
class _Reading:
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
            if self.filters.hold():
                self.items.append(Setting(match[1].lower(), match[2].strip(), place))
        elif match := _COMMAND.fullmatch(line):
            if self.filters.hold():
                self._command(match[1], match[2].strip(), place, depth)
        else:
            self.remarks.append(f"{place}: not understood: {line}")

    def _command(self, command: str, value: str, place: str, depth: int) -> None:
        if command == "initramfs":
            # Written without "="; kept under a name that no setting has.
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
    found = settings.last("initramfs ")
    words = found.value.split() if found is not None else []
    return words[0] if words else None


@dataclass(frozen=True)
class Overlay:
    """An overlay to apply: its name and the parameters that follow it."""

    name: str
    parameters: Mapping[str, str]
    place: str


def overlays_of(settings: Settings) -> tuple[Overlay, ...]:
    """Return the overlays of the `dtoverlay` and `dtparam` lines, in order.

    Parameters before the first overlay, and after an empty ``dtoverlay=``, belong to the base
    device tree: they come under the empty name.
    """
    found: list[Overlay] = []
    for item in settings.items:
        if item.name == "dtoverlay":
            name, *words = re.split(r"[:,]", item.value)
            found.append(Overlay(name.strip(), _parameters(words), item.place))
        elif item.name == "dtparam":
            words = item.value.split(",")
            if not found:
                found.append(Overlay("", {}, item.place))
            merged = {**found[-1].parameters, **_parameters(words)}
            found[-1] = replace(found[-1], parameters=merged)
    return tuple(overlay for overlay in found if overlay.name or overlay.parameters)


def _parameters(words: list[str]) -> dict[str, str]:
    pairs = (word.partition("=") for word in words if word.strip())
    return {name.strip(): value.strip() for name, _, value in pairs}
