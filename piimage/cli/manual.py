"""The manual pages, made from the commands themselves, as docs/reference/cli.md is.

python -m piimage.cli.manual docs/man
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

from piimage.cli.main import VERBS
from piimage.cli.pages import Option, Page, pages

_OVERVIEW = "One YAML file becomes a Raspberry Pi that runs your containers"
_EXIT_CODES = (
    ("0", "done"), ("1", "failed"), ("2", "the input is wrong"), ("3", "a host tool is missing"),
    ("4", "a device was refused"), ("130", "interrupted"),
)  # fmt: skip


def manual() -> Mapping[str, str]:
    """Return the pages by file name, in the language of man(7)."""
    verbs = {f"piimage-{verb}.1": _verb(verb) for verb in VERBS}
    return {"piimage.1": _overview(), **verbs}


def _overview() -> str:
    verbs = (line for verb, summary in VERBS.items() for line in _entry(_name(verb), summary))
    exits = (line for code, meaning in _EXIT_CODES for line in _entry(code, meaning))
    return _lines(
        *_head("piimage", _OVERVIEW),
        ".SH SYNOPSIS", f"{_bold('piimage')} {_italic('COMMAND')} [{_italic('OPTIONS')}]",
        ".SH COMMANDS", *verbs,
        ".SH EXIT STATUS", *exits,
    )  # fmt: skip


def _name(verb: str) -> str:
    return f"piimage-{verb}(1)"


def _verb(verb: str) -> str:
    parts = list(pages(verb))
    synopsis = [line for part in parts for line in (".PP", _usage(part))]
    body = (
        line
        for part in parts
        for line in _section(part, part.name.upper() if len(parts) > 1 else "DESCRIPTION")
    )
    return _lines(
        *_head(f"piimage-{verb}", VERBS[verb]),
        ".SH SYNOPSIS", *synopsis[1:], *body,
        ".SH SEE ALSO", _bold("piimage") + "(1)",
    )  # fmt: skip


def _head(name: str, summary: str) -> Iterator[str]:
    yield f'.TH "{name.upper()}" 1 "" "piimage" "User Commands"'
    yield ".SH NAME"
    yield f"{_escaped(name)} \\- {_escaped(summary)}"


def _usage(page: Page) -> str:
    options = f" [{_italic('OPTIONS')}]" if page.options else ""
    arguments = f" {_italic(page.arguments)}" if page.arguments else ""
    return f"{_bold(page.name)}{options}{arguments}"


def _section(page: Page, title: str) -> Iterator[str]:
    yield f'.SH "{title}"'
    for number, paragraph in enumerate(re.split(r"\n\s*\n", page.text)):
        if number:
            yield ".PP"
        yield _escaped(" ".join(paragraph.split()))
    if page.options:
        yield ".SS Options"
        for option in page.options:
            yield from _entry_of(option)
    label, line = page.example
    if line:
        yield f".SS {_escaped(label)}"
        yield from (".nf", _escaped(line), ".fi")


def _entry_of(option: Option) -> Iterator[str]:
    names = ", ".join(map(_bold, option.names))
    value = f" {_italic(option.value)}" if option.value else ""
    yield from (".TP", f"{names}{value}", _escaped(option.meaning))


def _entry(term: str, meaning: str) -> Iterator[str]:
    yield from (".TP", _bold(term), _escaped(meaning))


def _bold(text: str) -> str:
    return f"\\fB{_inline(text)}\\fR"


def _italic(text: str) -> str:
    return f"\\fI{_inline(text)}\\fR"


def _inline(text: str) -> str:
    """Return `text` with each character that groff would typeset as another in groff's name."""
    names = {"\\": "\\e", "-": "\\-", "'": "\\(aq", "`": "\\(ga", "^": "\\(ha", "~": "\\(ti"}
    return "".join(names.get(char, char) for char in text)


def _escaped(text: str) -> str:
    """Return `text` as one line; a dot at its beginning is no request."""
    inline = _inline(text)
    return f"\\&{inline}" if inline.startswith(".") else inline


def _lines(*lines: str) -> str:
    return "\n".join([*lines, ""])


def write(folder: Path) -> None:
    """Write the pages to `folder`, and remove those of verbs that are gone."""
    folder.mkdir(parents=True, exist_ok=True)
    made = manual()
    for path in folder.glob("*.1"):
        if path.name not in made:
            path.unlink()
    for name, text in made.items():
        (folder / name).write_text(text)


if __name__ == "__main__":
    write(Path(sys.argv[1]))
