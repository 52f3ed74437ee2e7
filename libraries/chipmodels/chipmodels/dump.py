"""Reads dumps of ``i2cdump``, all that ``i2c-stub-from-dump`` of i2c-tools accepts.

Byte form (modes b, c, i, s, W): a row ``80: xx xx ...`` of 16 bytes, perhaps followed by the same
as text. Word form (mode w): a row ``80: xxxx xxxx ...`` of 8 words. ``XX`` marks a register that
could not be read, and ``i2cdump -r`` leaves blanks outside of its range: both are skipped.

Text from a terminal has more: prompts, the warning and the question before a dump, the heading,
Markdown fences and quotes, colours. Such lines are skipped, because they do not begin as a row
does, with a register and ``:`` or ``|``. A line that begins so must be a complete row. Otherwise it
is an error, because a driver would miss registers of the chip.
"""

from __future__ import annotations

import codecs
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

_CELLS_IN_ROW = {"byte": 16, "word": 8}
_DIGITS = {"byte": 2, "word": 4}
# The two forms of i2c-stub-from-dump, which looks only for such rows.
_ROWS = {
    "byte": re.compile(r"([0-9a-fA-F]+) ?[:|]?((?:  ?[0-9a-fA-FxX]{2}){16})"),
    "word": re.compile(r"([0-9a-fA-F]+) ?[:|]((?: [0-9a-fA-FxX]{4}){8})"),
}
_BEGINS_AS_A_ROW = re.compile(r"([0-9a-fA-F]{2,4}) ?[:|](.*)$")
# Other lines that begin so: those of i2cdetect, and a time or MAC address before a line.
_DETECTED = re.compile(r"[0-7]0:(?: (?:--|UU|[0-9a-f]{2}|  ))* *$")
_TIME_OR_MAC = re.compile(r"[0-9a-fA-F]{2}(?::[0-9a-fA-F]{2}){2}")
_AROUND = re.compile(r"^[ \t>]*")
_COLOURS = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")
_COMMAND = re.compile(r"\bi2cdump\s.*")
_RANGE = re.compile(r"-r\s*(?:0x)?[0-9a-fA-F]+-(0x[0-9a-fA-F]+|[0-9]+)")
_ADDRESS = re.compile(r"\s(0x[0-9a-fA-F]{2})\b")


class DumpError(ValueError):
    """A dump that cannot be read. `lines` are the invalid lines, as (number, problem)."""

    def __init__(self, name: str, lines: list[tuple[int, str]]) -> None:
        self.name = name
        self.lines = lines
        super().__init__("\n".join(f"{name}:{number}: {problem}" for number, problem in lines))


@dataclass(frozen=True)
class Dump:
    """The registers of a chip: 8-bit values, or 16-bit ones if `words`."""

    values: Mapping[int, int]
    words: bool


@dataclass(frozen=True)
class _Row:
    """One row, which is `complete` unless cells are missing at its end."""

    number: int
    form: str
    first: int
    cells: tuple[int | None, ...]
    complete: bool = True

    @property
    def end(self) -> int:
        """The register after its last cell."""
        return self.first + len(self.cells)


def read_dump(path: Path) -> Dump:
    """Read a file, also in UTF-16 or with bytes that are no text. Raises `DumpError`."""
    data = path.read_bytes()
    wide = data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
    text = data.decode("utf-16" if wide else "utf-8", "replace")
    return parse_dump(text, str(path))


def parse_dump(text: str, name: str = "dump") -> Dump:
    """Read a dump in either form. Raises `DumpError` with all invalid lines.

    As in i2c-stub-from-dump, a later row overrides an earlier one, and if there are words, a byte
    is the low half of a word.
    """
    lines = [_plain(line) for line in text.splitlines()]
    invalid = list(_other_chips(lines))
    rows: list[_Row] = []
    for number, line in enumerate(lines, 1):
        try:
            row = _row(line)
        except ValueError as error:
            invalid.append((number, str(error)))
        else:
            rows += [replace(row, number=number)] if row else []
    invalid += _cut_short(rows, _range_ends(lines))
    if not invalid and not any(cell is not None for row in rows for cell in row.cells):
        invalid.append(
            (max(1, len(lines)), "no register in this dump: no row such as '80: 6b 70 ...'")
        )
    if invalid:
        raise DumpError(name, sorted(invalid))
    return _joined(rows)


def _plain(line: str) -> str:
    """Return `line` without colours, quote marks and the blanks of web pages."""
    line = _COLOURS.sub("", line).replace("\xa0", " ").removeprefix("\ufeff")
    return _AROUND.sub("", line)


def _row(line: str) -> _Row | None:
    """Parse a row; None for another line. Raises ValueError for an incomplete row."""
    for form, pattern in _ROWS.items():
        if match := pattern.match(line):
            first, cells = _first(match[1], form), match[2].split()
            return _Row(0, form, first, tuple(_parse_cell(cell, form) for cell in cells))
    start = _BEGINS_AS_A_ROW.match(line)
    if start is None or _is_no_row(line):
        return None
    return _uneven(start[1], start[2])


def _is_no_row(line: str) -> bool:
    """Return whether `line` is from i2cdetect, or begins with a time or a MAC address."""
    detected = _DETECTED.match(line) and ("--" in line or "UU" in line)
    return bool(detected) or _TIME_OR_MAC.match(line) is not None


def _uneven(register: str, body: str) -> _Row:
    """Parse a row with blanks in place of cells, as of a range. Raises ValueError."""
    words = body.split()
    if not words:
        raise ValueError("a row is an address, a colon and values, such as '80: 6b 70 ...'")
    form = "word" if len(words[0]) == _DIGITS["word"] else "byte"
    width, step = _CELLS_IN_ROW[form], _DIGITS[form] + 1
    first = _first(register, form)
    known = body[: width * step].rstrip() if len(body) < width * step else body[: width * step]
    pieces = [known[i : i + step] for i in range(0, len(known), step)]
    return _Row(
        0, form, first, tuple(_spaced_cell(piece, form) for piece in pieces),
        complete=len(body) >= width * step,
    )  # fmt: skip


def _first(register: str, form: str) -> int:
    first, width = int(register, 16), _CELLS_IN_ROW[form]
    if first % width:
        raise ValueError(f"address 0x{first:02x} is not a multiple of {width}")
    if first > 0xFF:
        raise ValueError(f"address 0x{first:02x} is above 0xff, where SMBus registers end")
    return first


def _spaced_cell(cell: str, form: str) -> int | None:
    """Return the value of a cell after one blank; None for blanks of ``i2cdump -r``."""
    if not cell.strip():
        return None
    if cell[0] != " ":
        raise ValueError(f"'{cell.strip()}' is not a {form} in hexadecimal, nor XX")
    return _parse_cell(cell[1:], form)


def _parse_cell(text: str, form: str) -> int | None:
    """Return the value of a cell; None if the register could not be read."""
    if len(text) == _DIGITS[form] and "X" in text.upper():
        return None
    if not re.fullmatch(f"[0-9a-fA-F]{{{_DIGITS[form]}}}", text):
        raise ValueError(f"'{text.strip()}' is not a {form} in hexadecimal, nor XX")
    return int(text, 16)


def _cut_short(rows: list[_Row], ends: set[int]) -> Iterator[tuple[int, str]]:
    """Yield rows that lack values although no range ends there.

    The last row of words may lack them, because editors remove blanks at the end of a line.
    """
    continued = {row.first for row in rows}
    for row in rows:
        width = _CELLS_IN_ROW[row.form]
        last = row.form == "word" and row.first + width not in continued
        if not row.complete and not last and row.end - 1 not in ends:
            count = sum(cell is not None for cell in row.cells)
            yield row.number, f"{count} values where a row has {width}"


def _range_ends(lines: list[str]) -> set[int]:
    """Return the last registers of the ranges in the command lines among `lines`."""
    commands = (_COMMAND.search(line) for line in lines)
    ranges = (_RANGE.search(command[0]) for command in commands if command)
    return {int(match[1], 0 if "x" in match[1] else 10) for match in ranges if match}


def _other_chips(lines: list[str]) -> Iterator[tuple[int, str]]:
    """Yield command lines that dump another chip than the first one."""
    chip = None
    for number, line in enumerate(lines, 1):
        command = _COMMAND.search(line)
        address = _ADDRESS.search(_RANGE.sub("", command[0])) if command else None
        if address is None:
            continue
        other = address[1].lower()
        if chip not in (None, other):
            yield number, f"a dump of {other} after one of {chip}; use one file for each chip"
        chip = chip or other


def _joined(rows: list[_Row]) -> Dump:
    words = any(row.form == "word" for row in rows)
    values: dict[int, int] = {}
    for row in rows:
        for register, value in enumerate(row.cells, row.first):
            if value is None:
                continue
            high = values.get(register, 0) & 0xFF00 if row.form == "byte" else 0
            values[register] = high | value
    return Dump(values, words)


def format_dump(dump: Dump) -> str:
    """Format a dump as ``i2cdump -y BUS ADDRESS b`` (or ``w``), without the text column."""
    width, blank = (8, "XXXX") if dump.words else (16, "XX")
    digits = len(blank)
    rows = []
    for first in range(0, 256, width):
        cells = [dump.values.get(r) for r in range(first, first + width)]
        text = " ".join(blank if c is None else f"{c:0{digits}x}" for c in cells)
        rows.append(f"{first:02x}: {text}\n")
    return "".join(rows)
