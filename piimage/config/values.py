"""Types of the YAML's fields: durations, sizes, names, paths; and the check of each.

A failed check gives the cause and what to write instead; the loader adds the position.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
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
"""The type of a validation error that carries ``message`` and ``instead``."""

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
# Keys that LinuxKit does not have keep their Python spelling.
_OWN: Final = frozenset(
    {"accept_any", "authorized_keys", "before_update", "exit_code", "host_key", "psk_file",
     "stop_timeout"}
)  # fmt: skip


def key_of(name: str) -> str:
    """Return the YAML key of the attribute `name`: camel case for LinuxKit's keys."""
    if name in _OWN:
        return name
    first, *rest = name.split("_")
    return _ACRONYMS.get(name) or first + "".join(part.title() for part in rest)


class Part(BaseModel):
    """A mapping of the YAML: immutable, without unknown keys."""

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
    """A mapping that may also be written as text: the value of its main key."""

    short_key: ClassVar[str]

    @model_validator(mode="before")
    @classmethod
    def _from_text(cls, value: object) -> object:
        return {cls.short_key: value} if isinstance(value, str) else value

    @classmethod
    def __get_pydantic_json_schema__(
        cls, schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> dict[str, Any]:
        reference = handler(schema)
        definition = handler.resolve_ref_schema(reference)
        mapping = dict(definition)
        definition.clear()
        definition["anyOf"] = [
            {"type": "string", "description": f"Its {cls.short_key} alone."},
            mapping,
        ]
        return reference


def problem(message: str, instead: str) -> PydanticCustomError:
    """Return the error that a check raises: the cause, and what to write instead."""
    # Braces would be placeholders in pydantic's template, so both texts go into the context.
    context: dict[str, Any] = {"message": message, "instead": instead}
    return PydanticCustomError(PROBLEM, "{message}; instead: {instead}", context)


def quoted(value: object) -> str:
    """Return `value` as a message shows it: one line of at most 60 characters, text in quotes."""
    if isinstance(value, Written):
        return value.text
    text = repr(value) if isinstance(value, str) else str(value)
    return text if len(text) <= 60 else f"{text[:56]}...{text[0] if text[0] in _QUOTES else ''}"


def closest(wrong: str, known: Iterable[str]) -> str | None:
    """Return the name of `known` that is most similar to `wrong`; None if none is similar."""
    from difflib import get_close_matches  # noqa: PLC0415  # only errors need it

    by_lower = {name.lower(): name for name in known}
    matches = get_close_matches(wrong.lower(), by_lower, n=1, cutoff=0.6)
    return by_lower[matches[0]] if matches else None


def did_you_mean(wrong: str, known: Iterable[str]) -> str:
    """Return the name of `known` that is most similar to `wrong`, or all names."""
    names = sorted(known)
    if not names:
        return "leave it out, because there is none"
    return closest(wrong, names) or f"one of {', '.join(names)}"


# Durations and sizes ------------------------------------------------------------------------

_SECONDS: Final = {"s": 1, "m": 60, "h": 3600, "d": 86400}
_MOST_SECONDS: Final = 366 * 86400
_BYTES: Final = {"": 1, "K": 2**10, "M": 2**20, "G": 2**30, "T": 2**40}


def parse_duration(value: object) -> int:
    """Return `value` in seconds: a number of seconds, or text such as ``90s``, ``1m30s``, ``2h``.

    Raises PydanticCustomError.
    """
    instead = "a whole number of seconds, or text such as 10s, 5m, 1m30s, 2h, 1d"
    if isinstance(value, int) and not isinstance(value, bool):
        seconds = int(value)
    elif isinstance(value, str) and re.fullmatch(r"([0-9]{1,9}[smhd])+", value, re.ASCII):
        pairs = re.findall(r"([0-9]+)([smhd])", value)
        seconds = sum(int(number) * _SECONDS[unit] for number, unit in pairs)
    elif isinstance(value, str) and re.fullmatch(r"[0-9]{1,9}", value, re.ASCII):
        seconds = int(value)
    else:
        raise problem(f"{quoted(value)} is not a valid duration", instead)
    if not 0 <= seconds <= _MOST_SECONDS:
        raise problem(f"{quoted(value)} is not between 0 and 366 days", instead)
    return seconds


def parse_size(value: object) -> int:
    """Return `value` in bytes: a number of bytes, or text such as ``64M``, ``2GiB``.

    Raises PydanticCustomError.
    """
    if isinstance(value, int) and not isinstance(value, bool):
        return int(value)
    match = isinstance(value, str) and re.fullmatch(
        r"([0-9]{1,15}) ?([KMGT]?)(?:i?B)?", value, re.ASCII | re.IGNORECASE
    )
    if not match:
        raise problem(
            f"{quoted(value)} is not a valid size",
            "a number of bytes, or text such as 64M or 2G (powers of 1024)",
        )
    return int(match[1]) * _BYTES[match[2].upper()]


@dataclass(frozen=True)
class Backoff:
    """The shortest and longest wait before a restart, in seconds; each wait doubles the last."""

    least: int
    most: int

    def __str__(self) -> str:
        return f"{self.least}s..{self.most}s"


def parse_backoff(value: object) -> Backoff:
    """Return text such as ``1s..60s`` as a range. Raises PydanticCustomError."""
    if isinstance(value, Backoff):
        return value
    least, dots, most = value.partition("..") if isinstance(value, str) else ("", "", "")
    if not dots:
        raise problem(
            f"{quoted(value)} is not a valid range of durations", "FIRST..MOST, such as 1s..60s"
        )
    backoff = Backoff(parse_duration(least), parse_duration(most))
    if not 1 <= backoff.least <= backoff.most:
        raise problem(
            f"{quoted(value)} must begin at 1s or more and must not shrink",
            "FIRST..MOST, such as 1s..60s",
        )
    return backoff


def _positive(seconds: int) -> int:
    if seconds < 1:
        raise problem(f"a duration of {seconds} s is too short", "1s or more")
    return seconds


def _at_most_45(seconds: int) -> int:
    """Process 1 ends all services and unmounts within one minute, so 45 seconds are the limit."""
    if seconds > 45:
        raise problem(f"a stop timeout of {seconds} s is too long", "45s or less")
    return seconds


def check_numbers(major: int | None, minor: int | None, least: int) -> None:
    """Raise PydanticCustomError for a device number outside the range of Linux (12 and 20 bits)."""
    for name, number, most in (("major", major, 2**12 - 1), ("minor", minor, 2**20 - 1)):
        if number is not None and not least <= number <= most:
            raise problem(f"{name} {number} is not a valid device number", f"{least} to {most}")


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
    AfterValidator(_positive),
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
    """Return a scalar as it is written in the YAML; anything else unchanged."""
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
"""Text that may also be written as a number or boolean: 1, 0x77, true."""
Strings = tuple[str, ...]
TEXT_OR_LIST: Final = WithJsonSchema(
    {"anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}}]}
)
"""The annotation of a list that may also be written as text."""
Texts = dict[str, Scalar]


def form(pattern: str, kind: str, instead: str, **schema: object) -> tuple[Any, Any]:
    """Return the annotations of a text that must match `pattern` as a whole."""

    def check(value: str) -> str:
        # The pattern is compiled at the first use, since most files use few of the fields.
        if not re.fullmatch(pattern, value, re.ASCII):
            raise problem(f"{quoted(value)} is not a valid {kind}", instead)
        return value

    return AfterValidator(check), WithJsonSchema(
        {"type": "string", "pattern": f"^(?:{pattern})$", **schema}
    )


Name = Annotated[
    str,
    *form(
        r"[A-Za-z0-9][A-Za-z0-9_.-]{0,62}",
        "name",
        "at most 63 letters, digits, '_', '.' and '-', beginning with a letter or digit",
    ),
]


def _host_name(name: str) -> str:
    if fault := hostname.fault(name):
        raise problem(*fault)
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
        "Debian package name",
        "a name in lower case, such as busybox-static",
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
        raise problem(
            f"{quoted(value)} leads out of the root file system", "a path without '..' parts"
        )
    if not value.strip("/."):
        raise problem(f"{quoted(value)} is the root itself", "a path below the root")
    return value.strip("/")


PathInRoot = Annotated[str, AfterValidator(_inside)]
"""A path in an image's root file system; a leading slash is optional and is removed."""
