"""The syntax of control files, Release and Packages (deb822(5))."""

from __future__ import annotations


def paragraph(text: str) -> dict[str, str]:
    """Return the fields of one paragraph, names in lower case.

    Continuation lines keep their line breaks, but not the first blank; comments are dropped.
    Raises ValueError for any other line.
    """
    fields: dict[str, str] = {}
    name = ""
    for line in text.splitlines():
        if line.startswith("#") or not line.strip():
            continue
        if line[0] in " \t":
            if not name:
                raise ValueError(f"the paragraph begins with a continuation line {line[:40]!r}")
            fields[name] += "\n" + line[1:]
            continue
        name, colon, value = line.partition(":")
        name = name.strip().lower()
        if not colon or not name:
            raise ValueError(f"no field name in {line[:40]!r}")
        fields[name] = value.strip()
    return fields
