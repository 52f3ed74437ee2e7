"""The reference of the command line, made from the commands themselves.

python -m piimage.cli.reference > docs/reference/cli.md
"""

from __future__ import annotations

from piimage.cli.output import put
from piimage.cli.pages import Page, all_pages

_HEAD = """\
# The command line

Made by `python -m piimage.cli.reference`; do not edit. Exit codes: 0 done, 1 failed, 2 the input \
is wrong, 3 a host tool is missing, 4 a device was refused. An error message shows its code in \
brackets; [the list of errors](../errors/README.md) explains each code.
"""


def cli_reference() -> str:
    """Return the reference as Markdown."""
    return "\n".join([_HEAD, *map(_section, all_pages())])


def _section(page: Page) -> str:
    usage = f"`{page.name} {page.arguments}`".replace(" `", "`")
    lines = [f"## {page.name}", "", usage, "", page.text, ""]
    if page.options:
        lines += ["| option | meaning |", "|---|---|"]
        lines += [f"| `{', '.join(o.names)}` | {o.meaning} |" for o in page.options]
        lines.append("")
    label, line = page.example
    if line:
        lines += [f"{label}: `{line}`", ""]
    return "\n".join(lines)


if __name__ == "__main__":
    put(cli_reference())
