"""Device nodes of a container, and the id ranges of its user namespace."""

import re
from typing import Annotated, Final, Literal, Self

from pydantic import BeforeValidator, Field, model_validator

from piimage.config.values import Part, ShortPart, check_numbers, form, problem, quoted

# Names of by-path links contain colons too, but not before a slash or before r, w, m alone.
_COMPOSE: Final = re.compile(r"(/dev/.+?)(?::/[^:]*(?::[rwm]+)?|:[rwm]+)")


def _device_type(value: object) -> object:
    """Return the type in the kernel's terms: mknod(1) also calls a character device `u`."""
    return "c" if value == "u" else value


class Device(ShortPart):
    """A device node; its type and numbers are read on the Pi if only the path is given."""

    short_key = "path"

    path: str = Field(
        description="The device node, such as /dev/i2c-1; `all` allows all devices of a type."
    )
    type: Annotated[Literal["a", "b", "c"], BeforeValidator(_device_type)] | None = Field(
        default=None,
        description="c (or u): character device, b: block device, a: both (only with path all).",
    )
    major: int | None = Field(
        default=None, description="Major number; -1 for any (only with path all)."
    )
    minor: int | None = Field(
        default=None, description="Minor number; -1 for any (only with path all)."
    )
    mode: (
        Annotated[str, *form("[0-7]{3,4}|[rwm]{1,3}", "mode", 'octal digits, or "rwm"')] | None
    ) = Field(
        default=None,
        description="Octal permission bits of the node; with path all: one or more of r, w, m.",
    )

    @model_validator(mode="after")
    def _whole(self) -> Self:
        inside = self.path.startswith("/dev/") and not {"", ".", ".."} & {*self.path[5:].split("/")}
        if self.path != "all" and not inside:
            raise problem(f"{quoted(self.path)} is not a device path", "a path below /dev/, or all")
        if (self.major is None) != (self.minor is None) and self.path != "all":
            raise problem("only one of major and minor is given", "both, or neither")
        if self.path == "all":
            check_numbers(self.major, self.minor, least=-1)
        else:
            self._check_node()
        return self

    def _check_node(self) -> None:
        if match := _COMPOSE.fullmatch(self.path):
            raise problem(
                f"{quoted(self.path)} is a device in Compose's form",
                f"{match[1]}; the container has it under the same path",
            )
        if {*"*?["} & {*self.path}:
            raise problem(
                f"{quoted(self.path)} has a wildcard, which is not allowed in a device path",
                "each device by its own path, such as /dev/i2c-1",
            )
        if self.type == "a":
            raise problem("type: a is only allowed with path: all", "type: c or b")
        if self.mode is not None and not self.mode.isdecimal():
            raise problem(
                f"{quoted(self.mode)} is not a valid mode of a device node",
                'octal digits, as in "0660"',
            )
        check_numbers(self.major, self.minor, least=0)


class IdMapping(Part):
    """A range of user or group ids of a user namespace."""

    host_id: int = Field(ge=0, description="First id on the host.")
    container_id: int = Field(ge=0, description="First id in the container.")
    size: int = Field(ge=1, description="Number of ids.")
