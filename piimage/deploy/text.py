"""Text from machines that are not trusted, made fit for a terminal."""

from __future__ import annotations


def printable(text: str) -> str:
    """Return `text` with whatever could steer a terminal written out as an escape."""
    return "".join(one if one.isprintable() or one == "\t" else repr(one)[1:-1] for one in text)


def printable_lines(text: str) -> str:
    """Return `text` in the same way; its lines stay lines, and end with a line feed alone."""
    return "\n".join(printable(line.removesuffix("\r")) for line in text.split("\n"))
