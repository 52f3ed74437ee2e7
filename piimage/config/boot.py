"""The firmware's settings, the kernel's options, and the partitions of the card."""

import re
from typing import Annotated, Final, Literal

from pydantic import AfterValidator, BeforeValidator, Field, WithJsonSchema

from piimage.config.values import (
    SIZE_SCHEMA,
    TEXT_OR_LIST,
    AbsolutePath,
    Part,
    Size,
    Strings,
    as_text,
    form,
    parse_size,
    problem,
    quoted,
)


def _as_tuple(value: object) -> object:
    return (value,) if isinstance(value, str | int) else value


# The checks apply firmware.settings to each line, since they know its place.
Setting = Annotated[str, BeforeValidator(as_text)]
_SCALARS: Final = [{"type": "string"}, {"type": "integer"}, {"type": "boolean"}]
_SETTING_SCHEMA: Final = WithJsonSchema(
    {"anyOf": [*_SCALARS, {"type": "array", "items": {"anyOf": _SCALARS}}]}
)
Settings = dict[str, Annotated[tuple[Setting, ...], BeforeValidator(_as_tuple), _SETTING_SCHEMA]]
# Overlays take no parameters: those for Debian's device trees have none (docs/boards.md).
Overlay = Annotated[str, *form(r"-?[A-Za-z0-9][A-Za-z0-9_-]*", "overlay name", "NAME or -NAME")]


def _words(value: object) -> object:
    return value.split() if isinstance(value, str) else value


def kernel_options(values: tuple[str, ...]) -> tuple[str, ...]:
    """Return `values` if each is a kernel option that the file may set."""
    for value in values:
        if not re.fullmatch("[!-~]+", value):
            raise problem(
                f"{quoted(value)} is not a valid kernel option",
                "ASCII words without blanks, such as [quiet, panic=10]",
            )
        if value.startswith("piimage."):
            raise problem(
                f"piimage sets {value} itself", "the other options: the boot slot decides this one"
            )
    return values


Options = Annotated[Strings, BeforeValidator(_words), AfterValidator(kernel_options), TEXT_OR_LIST]


class Boot(Part):
    """Settings for the firmware and the kernel, added to those of the board."""

    config: Settings = Field(
        default={},
        description="Settings of config.txt: KEY: VALUE; a list gives several lines of one key.",
    )
    overlays: tuple[Overlay, ...] = Field(
        default=(), description="Device tree overlays; -NAME removes one of the board's."
    )
    cmdline: Options = Field(default=(), description="Options added to the kernel's command line.")


def _data_size(value: object) -> object:
    if value == "rest":
        return value
    size = parse_size(value)
    if size < 16 << 20:
        raise problem(f"{quoted(value)} is too small for a file system", "16M or more, or rest")
    return size


_TAKEN: Final = (
    *("bin", "boot", "containers", "dev", "etc", "lib", "proc", "root", "run", "sbin", "sys"),
    *("tmp", "usr"),
)


def _data_mount(path: str) -> str:
    parts = [part for part in path.split("/") if part]
    if not parts or parts[0] in _TAKEN or parts == ["var"] or ".." in parts:
        raise problem(f"{path} belongs to the system", "a folder such as /data, /srv or /home")
    return "/" + "/".join(parts)


class Data(Part):
    """The data partition, which persists across updates."""

    size: Annotated[
        int | Literal["rest"],
        BeforeValidator(_data_size),
        WithJsonSchema({"anyOf": [{"const": "rest"}, *SIZE_SCHEMA["anyOf"]]}),
    ] = Field(
        default="rest",
        description="rest (grows to the end of the card at the first boot), or a size such as 2G.",
    )
    mount: Annotated[AbsolutePath, AfterValidator(_data_mount)] = Field(
        default="/data", description="Second mount point, beside /data."
    )


class Slots(Part):
    """The two partitions (or folders) that each hold a complete version of the system."""

    size: Annotated[Size, Field(ge=64 << 20, le=16 << 30)] | None = Field(
        default=None, description="Size of each slot; the board's default if left out."
    )
    updates: bool = Field(
        default=False,
        description="true: the boot loader can be told to try a new version of the system once; "
        "for a Raspberry Pi, the build compiles a kernel module for it.",
    )
    verify: Literal["boot"] | None = Field(
        default=None,
        description="boot: each start checks the digests of the layers before it uses them, and a "
        "slot that is damaged leads to the other one.",
    )
