"""Makes text from untrusted machines safe for a terminal."""

from __future__ import annotations


def printable(text: str) -> str:
    """Return `text` with all control characters but tabs written as escape sequences."""
    return "".join(
        char if char.isprintable() or char == "\t" else repr(char)[1:-1] for char in text
    )


def printable_lines(text: str) -> str:
    """Do the same but keep line feeds; a carriage return before one is dropped."""
    return "\n".join(printable(line.removesuffix("\r")) for line in text.split("\n"))
