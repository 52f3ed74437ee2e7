"""Finds and pins the base images of a Dockerfile.

Source: Docker's Dockerfile reference (FROM, ARG before FROM, COPY --from, here-documents). Only
references to images are read; the builder reads everything else.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Final

from piimage.errors import InputError

_FROM: Final = re.compile(
    r"(?P<head>\s*FROM\s+(?:--\S+\s+)*)(?P<image>\S+)(?P<tail>(?:\s+AS\s+(?P<stage>\S+))?\s*)",
    re.IGNORECASE,
)
_COPY_FROM: Final = re.compile(
    r"(?P<head>\s*(?:COPY|ADD)\s+(?:--\S+\s+)*?--from=)(?P<image>\S+)(?P<tail>.*)",
    re.IGNORECASE | re.DOTALL,
)
_ARG: Final = re.compile(r"\s*ARG\s+(?P<name>\w+)(?:=(?P<value>\S*))?", re.IGNORECASE)
_HERE: Final = re.compile(r"<<-?\s*['\"]?(\w+)['\"]?")
_VARIABLE: Final = re.compile(r"\$(?:(\w+)|\{(\w+)(?::-([^}]*))?\})")
_MAX: Final = 1 << 20

Replace = Callable[[str], str]


def base_images(text: str, arguments: Mapping[str, str], place: str) -> tuple[str, ...]:
    """Return the images that the Dockerfile refers to, each once, in order.

    `arguments` are build arguments, which replace the defaults of ``ARG`` before ``FROM``. Raises
    InputError ``oci.dockerfile`` for a file without FROM, or an image named by an unset variable.
    """
    found: dict[str, None] = {}

    def note(image: str) -> str:
        found[image] = None
        return image

    pin_images(text, arguments, note, place)
    return tuple(found)


def pin_images(text: str, arguments: Mapping[str, str], pin: Replace, place: str) -> str:
    """Return the Dockerfile with each image replaced by what `pin` gives for it."""
    if len(text) > _MAX:
        raise _bad("it is too large", place)
    known: dict[str, str] = {}
    stages: set[str] = set()
    lines: list[str] = []
    count = 0
    for line, is_instruction in _instructions(text):
        if not is_instruction:
            lines.append(line)
            continue
        argument = _ARG.match(line)
        if argument and not count:
            name = argument["name"]
            known[name] = arguments.get(name, (argument["value"] or "").strip("'\""))
        match = _FROM.fullmatch(line) or _COPY_FROM.fullmatch(line)
        if match is None:
            lines.append(line)
            continue
        is_from = "stage" in match.re.groupindex
        count += is_from
        image = _expanded(match["image"], known, place)
        outside = image.lower() not in stages | {"scratch"} and not (
            image.isdigit() and not is_from
        )
        lines.append(f"{match['head']}{pin(image)}{match['tail']}" if outside else line)
        if is_from and match["stage"]:
            stages.add(match["stage"].lower())
    if not count:
        raise _bad("it has no FROM instruction", place)
    return "".join(lines)


def _instructions(text: str) -> Iterator[tuple[str, bool]]:
    """Give the file in pieces: an instruction with its continuation lines, or another line."""
    pending = ""
    ends: list[str] = []
    for line in text.splitlines(keepends=True):
        if ends:
            # The lines of a here-document are not instructions.
            yield line, False
            if line.strip() == ends[0]:
                ends.pop(0)
            continue
        pending += line
        comment = line.lstrip().startswith("#")
        if pending != line and (comment or not line.strip()):
            continue  # comments and empty lines do not end a continued instruction
        if line.rstrip().endswith("\\") and not comment:
            continue
        if not pending.lstrip().startswith("#") and re.match(r"\s*(RUN|COPY|ADD)\b", pending, re.I):
            ends = _HERE.findall(pending)
        yield pending, not pending.lstrip().startswith("#")
        pending = ""
    if pending:
        yield pending, True


def _expanded(image: str, known: Mapping[str, str], place: str) -> str:
    def value(match: re.Match[str]) -> str:
        found = known.get(match[1] or match[2]) or match[3]
        if not found:
            raise _bad(f"FROM {image} uses a variable without a value", place)
        return found

    return _VARIABLE.sub(value, image.strip("'\""))


def _bad(reason: str, place: str) -> InputError:
    return InputError(
        "oci.dockerfile",
        f"the Dockerfile cannot be used: {reason}",
        place=place,
        hint="name the image in FROM, or write ARG NAME=VALUE with a default before FROM",
    )
