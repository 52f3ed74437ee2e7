"""The reference of the command line, made from the commands themselves.

python -m piimage.cli.reference > docs/reference/cli.md
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from piimage.cli.main import VERBS, command
from piimage.cli.output import put

_HEAD = """\
# The command line

Made by `python -m piimage.cli.reference`; do not edit. Exit codes: 0 done, 1 failed, 2 the input \
is wrong, 3 a host tool is missing, 4 a device was refused. An error message shows its code in \
brackets; [the list of errors](../errors/README.md) explains each code.
"""


def cli_reference() -> str:
    """Return the reference as Markdown."""
    return "\n".join([_HEAD, *(text for verb in VERBS for text in _verb(verb))])


def _verb(verb: str) -> Iterator[str]:
    top: Any = command(verb)
    parts = getattr(top, "commands", None)
    if parts is None:
        yield _page(f"piimage {verb}", top)
        return
    for name, part in parts.items():
        yield _page(f"piimage {verb} {name}", part)


def _page(name: str, command: Any) -> str:  # noqa: ANN401  # the library's own class is private
    shown = [p for p in command.params if p.name != "help"]
    arguments = [p for p in shown if p.param_type_name == "argument"]
    options = [p for p in shown if p.param_type_name == "option"]
    words = " ".join(p.metavar or str(p.name).upper() for p in arguments)
    lines = [f"## {name}", "", f"`{name} {words}`".replace(" `", "`"), "", command.help.strip(), ""]
    if options:
        lines += ["| option | meaning |", "|---|---|"]
        lines += [f"| `{', '.join(p.opts)}` | {p.help or ''} |" for p in options]
        lines.append("")
    if command.epilog:
        lines += [_example(command.epilog), ""]
    return "\n".join(lines)


def _example(epilog: str) -> str:
    label, _, line = epilog.partition(": ")
    return f"{label}: `{line}`"


if __name__ == "__main__":
    put(cli_reference())
