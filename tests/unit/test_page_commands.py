"""The commands that pages show exist, with the options that they show."""

from __future__ import annotations

import itertools
import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from piimage.cli.main import VERBS, command
from tests.unit import pages

# Comments, other programs behind, and the dots of what is left out.
NOT_OF_THE_COMMAND = re.compile(r"\s+#.*|\s[>|&].*|…")


def commands(page: Path) -> Iterator[str]:
    """Every command of piimage in a page: lines of its code blocks, and inline code."""
    for token in pages.tokens(page):
        lines = token.content.splitlines() if token.type == "fence" else []
        lines += [child.content for child in token.children or [] if child.type == "code_inline"]
        for line in lines:
            if re.match(r"(\$ )?piimage (?!:)", line):
                yield NOT_OF_THE_COMMAND.sub("", line).removeprefix("$ ")


def unknown(line: str) -> list[str]:
    """Return the words of a command that the command line does not have."""
    _, *words = shlex.split(line)
    verb = words.pop(0) if words else "VERB"
    if verb.isupper() or verb in ("--version", "--help"):
        return []
    if verb not in VERBS:
        return [verb]
    known: Any = command(verb)
    parts = getattr(known, "commands", None)
    if parts is not None:
        name = words.pop(0) if words else "PART"
        if name.isupper():
            return []
        usual = getattr(known, "usual", None)  # the part that need not be named
        if name not in parts and usual is None:
            return [f"{verb} {name}"]
        known = parts.get(name) or parts[usual]
    if not known.context_settings.get("allow_interspersed_args", True):
        words = [*itertools.takewhile(lambda word: word.startswith("-"), words)]
    options = {"--help", *(option for parameter in known.params for option in parameter.opts)}
    named = [word.partition("=")[0] for word in words if re.match(r"--?[a-z]", word)]
    return [word for word in named if word not in options]


# Changes and decisions tell of commands as they were.
@pytest.mark.parametrize(
    "page",
    [p for p in pages.PAGES if p.name != "CHANGELOG.md" and p.parent.name != "decisions"],
    ids=pages.title,
)
def test_commands_of_the_pages_exist(page: Path) -> None:
    assert [(line, words) for line in commands(page) if (words := unknown(line))] == []


def test_a_command_that_does_not_exist_is_noticed() -> None:
    assert unknown("piimage build pi4.yml -o out") == []
    assert unknown("piimage pkg build thermometer --load --tag v1") == []
    assert unknown("piimage biuld pi4.yml") == ["biuld"]
    assert unknown("piimage pkg biuld x") == ["pkg biuld"]
    assert unknown("piimage build pi4.yml --ouput out -x") == ["--ouput", "-x"]
    assert unknown("piimage exec greenhouse.local web sh -c 'ls /data'") == []


def test_the_commands_of_a_page_are_found(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(
        "piimage is a word, `piimage lock` a command.\n\n```console\n"
        "$ piimage run a.img   # boots\npiimage: phase task\n```\n\n"
        "```sh\npiimage test a.yml >log\n```\n"
    )
    assert [*commands(page)] == ["piimage lock", "piimage run a.img", "piimage test a.yml"]
