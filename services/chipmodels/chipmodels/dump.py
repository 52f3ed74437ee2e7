"""Dumps of ``i2cdump``, the form that i2c-tools' ``i2c-stub-from-dump`` takes.

Byte form (modes b, c, i): a row ``80: xx xx ...`` of 16 bytes, perhaps followed by the same as
text. Word form (mode w): a row ``80: xxxx xxxx ...`` of 8 words. Both forms may start with the
heading row; ``XX`` marks a register that could not be read, and is left out.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

_HEADING = re.compile(r"^ +0(,8)? +1(,9)? +2")
_CELLS_IN_ROW = {"byte": 16, "word": 8}


class DumpError(ValueError):
    """A dump that cannot be read. `lines` are the bad lines, as (number, what is wrong)."""

    def __init__(self, name: str, lines: list[tuple[int, str]]) -> None:
        self.name = name
        self.lines = lines
        super().__init__("\n".join(f"{name}:{number}: {what}" for number, what in lines))


@dataclass(frozen=True)
class Dump:
    """Registers of one chip: 8-bit values, or 16-bit ones where `words`."""

    values: Mapping[int, int]
    words: bool


def parse_dump(text: str, name: str = "dump") -> Dump:
    """Read a dump in either form. Raises `DumpError` with every bad line."""
    values: dict[int, int] = {}
    forms: set[str] = set()
    bad: list[tuple[int, str]] = []
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip() or _HEADING.match(line) or line.startswith("No size specified"):
            continue
        try:
            form, row = _parse_row(line)
        except ValueError as error:
            bad.append((number, str(error)))
            continue
        forms.add(form)
        if len(forms) > 1:
            bad.append((number, "bytes and words in one dump; make it with one i2cdump mode"))
        repeated = sorted(values.keys() & row.keys())
        if repeated:
            bad.append((number, f"register 0x{repeated[0]:02x} was given before"))
        values |= row
    if not bad and not values:
        bad.append((max(1, len(text.splitlines())), "no register in this dump"))
    if bad:
        raise DumpError(name, bad)
    return Dump(values, forms == {"word"})


def _parse_row(line: str) -> tuple[str, dict[int, int]]:
    """The form and the registers of one row. Raises ValueError with what is wrong."""
    match = re.match(r"^([0-9a-fA-F]{2}):(.*)$", line)
    if match is None or not match[2].strip():
        raise ValueError("a row is an address, a colon and values, such as '80: 6b 70 ...'")
    first, body = int(match[1], 16), match[2]
    form = "word" if len(body.split()[0]) == 4 else "byte"
    width, step = _CELLS_IN_ROW[form], 5 if form == "word" else 3
    cells = [body[i * step : (i + 1) * step] for i in range(width)]
    if len(body) < width * step:
        raise ValueError(f"{len(body.split())} values where a row has {width}")
    if first % width:
        raise ValueError(f"address 0x{first:02x} is not a multiple of {width}")
    values = [_parse_cell(cell, form) for cell in cells]
    return form, {first + i: value for i, value in enumerate(values) if value is not None}


def _parse_cell(cell: str, form: str) -> int | None:
    """A cell's value; None for XX and for the blanks that ``i2cdump -r`` leaves."""
    text = cell[1:]
    if cell[0] == " " and (not text.strip() or set(text) == {"X"}):
        return None
    if cell[0] != " " or not re.fullmatch("[0-9a-fA-F]+", text):
        raise ValueError(f"'{cell.strip()}' is not a {form} in hexadecimal, nor XX")
    return int(text, 16)


def format_dump(dump: Dump) -> str:
    """A dump as ``i2cdump -y BUS ADDRESS b`` (or ``w``) prints it, without the text column."""
    width, blank = (8, "XXXX") if dump.words else (16, "XX")
    digits = len(blank)
    rows = []
    for first in range(0, 256, width):
        cells = [dump.values.get(r) for r in range(first, first + width)]
        text = " ".join(blank if c is None else f"{c:0{digits}x}" for c in cells)
        rows.append(f"{first:02x}: {text}\n")
    return "".join(rows)
