"""The field syntax that control files, Release and Packages share (deb822(5))."""

from __future__ import annotations


def paragraph(text: str) -> dict[str, str]:
    """Return the fields of one paragraph, names in lower case.

    Continuation lines are kept with their line breaks, without the first blank; comments are left
    out. Raises ValueError for a line that is neither.
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
