"""What each command says of itself, for the reference and the manual pages."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from piimage.cli.main import VERBS, command


@dataclass(frozen=True)
class Option:
    """An option: its names, its placeholder ("" for a switch), and its meaning."""

    names: tuple[str, ...]
    value: str
    meaning: str


@dataclass(frozen=True)
class Page:
    """A command: its name, its arguments, its text in paragraphs, its options and its example.

    `example` is a label and a command line, both empty if there is none.
    """

    name: str
    arguments: str
    text: str
    options: tuple[Option, ...]
    example: tuple[str, str]


def pages(verb: str) -> Iterator[Page]:
    """Give the page of `verb`, or the pages of its parts (``pkg build``, ``pkg push`` ...)."""
    top: Any = command(verb)
    parts = getattr(top, "commands", None)
    if parts is None:
        yield _page(f"piimage {verb}", top)
        return
    for name, part in parts.items():
        yield _page(f"piimage {verb} {name}", part)


def all_pages() -> Iterator[Page]:
    """Give the pages of all verbs."""
    return (page for verb in VERBS for page in pages(verb))


def _page(name: str, command: Any) -> Page:  # noqa: ANN401  # the library's own class is private
    shown = [p for p in command.params if p.name != "help"]
    words = [p.metavar or str(p.name).upper() for p in shown if p.param_type_name == "argument"]
    options = [_option(p) for p in shown if p.param_type_name == "option"]
    label, _, line = (command.epilog or "").partition(": ")
    return Page(name, " ".join(words), command.help.strip(), tuple(options), (label, line))


def _option(parameter: Any) -> Option:  # noqa: ANN401  # likewise
    value = "" if parameter.is_flag else parameter.metavar or _word(parameter.opts)
    return Option(tuple(parameter.opts), value, parameter.help or "")


def _word(names: list[str]) -> str:
    """Return the placeholder of an option without one: its longest name in capitals."""
    return max(names, key=len).strip("-").upper()
