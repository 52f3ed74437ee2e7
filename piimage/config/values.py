"""What the fields of the YAML hold: durations, sizes, names, paths; and how each is checked.

A check that fails says what is wrong and what to write instead; the loader adds the position.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import partial
from typing import Annotated, Any, ClassVar, Final

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    GetJsonSchemaHandler,
    PlainSerializer,
    PlainValidator,
    WithJsonSchema,
    model_validator,
)
from pydantic_core import PydanticCustomError
from pydantic_core.core_schema import CoreSchema

from piimage import hostname
from piimage.document.nodes import Written

_QUOTES: Final = "'\""
PROBLEM: Final = "piimage"
"""The type of a validation error that carries ``what`` and ``instead``."""

_ACRONYMS: Final = {
    "bind_ns": "bindNS",
    "host_id": "hostID",
    "container_id": "containerID",
    "class_id": "classID",
    "kernel_tcp": "kernelTCP",
    "disable_oom_killer": "disableOOMKiller",
    "throttle_read_iops_device": "throttleReadIOPSDevice",
    "throttle_write_iops_device": "throttleWriteIOPSDevice",
    "capabilities_add": "capabilities.add",
    "binds_add": "binds.add",
}
# Keys of piimage's own, which LinuxKit does not have, are written as in Python.
_OWN: Final = frozenset(
    {"accept_any", "authorized_keys", "exit_code", "host_key", "psk_file", "stop_timeout"}
)


def key_of(name: str) -> str:
    """Return the key in the YAML of the attribute `name`: LinuxKit's camel case, piimage's own."""
    if name in _OWN:
        return name
    first, *rest = name.split("_")
    return _ACRONYMS.get(name) or first + "".join(part.title() for part in rest)


class Part(BaseModel):
    """A mapping of the YAML: immutable, and no key that is not named here."""

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        defer_build=True,
        alias_generator=key_of,
        validate_by_name=True,
        validate_by_alias=True,
        serialize_by_alias=True,
        hide_input_in_errors=True,
    )


class ShortPart(Part):
    """A mapping that may also be written as the text of its one important key."""

    short_key: ClassVar[str]

    @model_validator(mode="before")
    @classmethod
    def _from_text(cls, value: object) -> object:
        return {cls.short_key: value} if isinstance(value, str) else value

    @classmethod
    def __get_pydantic_json_schema__(
        cls, schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> dict[str, Any]:
        made = handler(schema)
        whole = handler.resolve_ref_schema(made)
        mapping = dict(whole)
        whole.clear()
        whole["anyOf"] = [{"type": "string", "description": f"Its {cls.short_key} alone."}, mapping]
        return made


def problem(what: str, instead: str) -> PydanticCustomError:
    """Return the error that a check raises: what is wrong, and what to write instead."""
    # Braces are pydantic's place holders; the two texts travel in the context as they are.
    return PydanticCustomError(PROBLEM, "{what}; instead: {instead}", _context(what, instead))


def _context(what: str, instead: str) -> dict[str, Any]:
    return {"what": what, "instead": instead}


def quoted(value: object) -> str:
    """Return `value` as a message shows it: text in quotes, one line, not too long."""
    if isinstance(value, Written):
        return value.text
    text = repr(value) if isinstance(value, str) else str(value)
    return text if len(text) <= 60 else f"{text[:56]}...{text[0] if text[0] in _QUOTES else ''}"


def closest(wrong: str, known: Iterable[str]) -> str | None:
    """Return the one of `known` that was likely meant by `wrong`, if any comes close."""
    from difflib import get_close_matches  # noqa: PLC0415  # only errors need it

    by_lower = {name.lower(): name for name in known}
    found = get_close_matches(wrong.lower(), by_lower, n=1, cutoff=0.6)
    return by_lower[found[0]] if found else None


def did_you_mean(wrong: str, known: Iterable[str]) -> str:
    """Return what to write instead of `wrong`: the closest of `known`, or all of them."""
    names = sorted(known)
    return closest(wrong, names) or (f"one of {', '.join(names)}" if names else "nothing")


# Durations and sizes ------------------------------------------------------------------------

_SECONDS: Final = {"s": 1, "m": 60, "h": 3600, "d": 86400}
_MOST_SECONDS: Final = 366 * 86400
_BYTES: Final = {"": 1, "K": 2**10, "M": 2**20, "G": 2**30, "T": 2**40}


def parse_duration(value: object) -> int:
    """Return the seconds that `value` says: their number, or such as ``90s``, ``1m30s``, ``2h``.

    Raises PydanticCustomError.
    """
    instead = "whole seconds, or a text such as 10s, 5m, 1m30s, 2h, 1d"
    if isinstance(value, int) and not isinstance(value, bool):
        seconds = int(value)
    elif isinstance(value, str) and re.fullmatch(r"([0-9]{1,9}[smhd])+", value, re.ASCII):
        pairs = re.findall(r"([0-9]+)([smhd])", value)
        seconds = sum(int(number) * _SECONDS[unit] for number, unit in pairs)
    elif isinstance(value, str) and re.fullmatch(r"[0-9]{1,9}", value, re.ASCII):
        seconds = int(value)
    else:
        raise problem(f"{quoted(value)} is no duration", instead)
    if not 0 <= seconds <= _MOST_SECONDS:
        raise problem(f"{quoted(value)} is not between 0 and a year", instead)
    return seconds


def parse_size(value: object) -> int:
    """Return the bytes that `value` says: a number of them, or such as ``64M``, ``2GiB``.

    Raises PydanticCustomError.
    """
    if isinstance(value, int) and not isinstance(value, bool):
        return int(value)
    match = isinstance(value, str) and re.fullmatch(
        r"([0-9]{1,15}) ?([KMGT]?)(?:i?B)?", value, re.ASCII | re.IGNORECASE
    )
    if not match:
        raise problem(
            f"{quoted(value)} is no size", "bytes, or a text such as 64M or 2G (powers of 1024)"
        )
    return int(match[1]) * _BYTES[match[2].upper()]


@dataclass(frozen=True)
class Backoff:
    """Seconds to wait before a restart: the first time, and at most (doubled in between)."""

    least: int
    most: int

    def __str__(self) -> str:
        return f"{self.least}s..{self.most}s"


def parse_backoff(value: object) -> Backoff:
    """Return what ``1s..60s`` says. Raises PydanticCustomError."""
    if isinstance(value, Backoff):
        return value
    least, dots, most = value.partition("..") if isinstance(value, str) else ("", "", "")
    if not dots:
        raise problem(f"{quoted(value)} is no range of durations", "FIRST..MOST, such as 1s..60s")
    backoff = Backoff(parse_duration(least), parse_duration(most))
    if not 1 <= backoff.least <= backoff.most:
        raise problem(
            f"{quoted(value)} does not grow from 1s or more", "FIRST..MOST, such as 1s..60s"
        )
    return backoff


def _positive(kind: str, value: int) -> int:
    if value < 1:
        raise problem(f"{kind} of {value} is not positive", f"{kind} above zero")
    return value


def _at_most_45(value: int) -> int:
    """Process 1 waits for a minute for a service's end, and has more to do in it."""
    if value > 45:
        raise problem(f"a time of {value} s to stop is more than process 1 waits", "45s at most")
    return value


def check_numbers(major: int | None, minor: int | None, least: int) -> None:
    """Raise PydanticCustomError for a device number outside of Linux' 12 and 20 bits."""
    for name, number, most in (("major", major, 2**12 - 1), ("minor", minor, 2**20 - 1)):
        if number is not None and not least <= number <= most:
            raise problem(f"{name} {number} is no device number", f"{least} to {most}")


_DURATION_SCHEMA: Final = {
    "anyOf": [
        {"type": "integer", "minimum": 0},
        {"type": "string", "pattern": "^([0-9]+[smhd])+$"},
    ],
    "examples": ["10s", "1m30s"],
}
SIZE_SCHEMA: Final[dict[str, Any]] = {
    "anyOf": [{"type": "integer"}, {"type": "string", "pattern": "^[0-9]+ ?[KMGTkmgt]?(i?B)?$"}],
    "examples": ["64M", "2G"],
}
_BACKOFF_SCHEMA: Final = {
    "type": "string",
    "pattern": r"^([0-9]+[smhd])+\.\.([0-9]+[smhd])+$",
    "examples": ["1s..60s"],
}

Duration = Annotated[int, BeforeValidator(parse_duration), WithJsonSchema(_DURATION_SCHEMA)]
Interval = Annotated[
    int,
    BeforeValidator(parse_duration),
    AfterValidator(partial(_positive, "a duration")),
    WithJsonSchema(_DURATION_SCHEMA),
]
StopTimeout = Annotated[
    int,
    BeforeValidator(parse_duration),
    AfterValidator(_at_most_45),
    WithJsonSchema(_DURATION_SCHEMA),
]
Size = Annotated[int, BeforeValidator(parse_size), WithJsonSchema(SIZE_SCHEMA)]
BackoffRange = Annotated[
    Backoff, PlainValidator(parse_backoff), PlainSerializer(str), WithJsonSchema(_BACKOFF_SCHEMA)
]


# Text ---------------------------------------------------------------------------------------


def as_text(value: object) -> object:
    """Return a scalar of the YAML as its author wrote it; anything else unchanged."""
    if isinstance(value, Written):
        return value.text
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value) if isinstance(value, int) else value


Scalar = Annotated[
    str,
    BeforeValidator(as_text),
    WithJsonSchema({"anyOf": [{"type": "string"}, {"type": "integer"}, {"type": "boolean"}]}),
]
"""Text that may also be written as a number or truth value: 1, 0x77, true."""
Strings = tuple[str, ...]
TEXT_OR_LIST: Final = WithJsonSchema(
    {"anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}}]}
)
"""The annotation of a list that may also be written as text."""
Texts = dict[str, Scalar]


def form(pattern: str, kind: str, instead: str, **schema: object) -> tuple[Any, Any]:
    """Return the annotations of a text that must match `pattern` as a whole."""

    def check(value: str) -> str:
        # Compiled at the first use: most fields are not in most files.
        if not re.fullmatch(pattern, value, re.ASCII):
            raise problem(f"{quoted(value)} is no {kind}", instead)
        return value

    return AfterValidator(check), WithJsonSchema(
        {"type": "string", "pattern": f"^(?:{pattern})$", **schema}
    )


Name = Annotated[
    str,
    *form(
        r"[A-Za-z0-9][A-Za-z0-9_.-]{0,62}",
        "name",
        "letters, digits, '_', '.' and '-', beginning with a letter or digit, at most 63",
    ),
]


def _host_name(name: str) -> str:
    if found := hostname.fault(name):
        raise problem(*found)
    return name


HostName = Annotated[
    str,
    AfterValidator(_host_name),
    WithJsonSchema(
        {"type": "string", "pattern": f"^(?:{hostname.PATTERN})$", "maxLength": hostname.MOST}
    ),
]
AbsolutePath = Annotated[str, *form(r"/[^\0]*", "absolute path", "a path that begins with /")]
PackageName = Annotated[
    str,
    *form(
        r"[a-z0-9][a-z0-9+.-]+([=/][A-Za-z0-9.+:~-]+)?",
        "Debian package",
        "its name in lower case, such as busybox-static",
    ),
]
Mode = Annotated[
    str,
    BeforeValidator(as_text),
    *form("[0-7]{3,4}", "file mode", 'octal digits, such as "0644"', examples=["0644"]),
]


def _inside(value: str) -> str:
    parts = value.split("/")
    if ".." in parts or "\0" in value:
        raise problem(f"{quoted(value)} leaves the root", "a path without '..' parts")
    if not value.strip("/."):
        raise problem(f"{quoted(value)} names the root itself", "a path below the root")
    return value.strip("/")


PathInRoot = Annotated[str, AfterValidator(_inside)]
"""A path in an image's root, with or without its leading slash; kept without."""
