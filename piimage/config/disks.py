"""The section `disks:`: USB sticks and other disks, which are known by the labels on them."""

from typing import Annotated, Final

from pydantic import AfterValidator, BeforeValidator, Field

from piimage.config.values import Part, as_text, form, problem, quoted

MEDIA: Final = "/media"
"""The folder of the Pi in which each disk appears, under its name."""

_LONGEST: Final = 33  # bytes: 11 characters of exFAT in UTF-8; ext4 has 16 bytes, FAT 11


def _label(value: str) -> str:
    if not value or value != value.strip() or not value.isprintable():
        raise problem(
            f"{quoted(value)} is not a label",
            "the text that the disk has, without blanks at its ends",
        )
    if len(value.encode()) > _LONGEST:
        raise problem(f"{quoted(value)} is too long for a label", "the label as the disk has it")
    return value


DiskName = Annotated[
    str,
    *form(
        r"[a-z0-9][a-z0-9_-]{0,31}",
        "name of a disk",
        "at most 32 lower case letters, digits, _ and -, such as music",
    ),
]
Label = Annotated[str, BeforeValidator(as_text), AfterValidator(_label)]


class Disk(Part):
    """A USB stick, or a partition of another disk, that is mounted whenever it is plugged in."""

    name: DiskName = Field(
        description="Name of the disk; it appears at /media/NAME, which `binds` can use as a "
        "source."
    )
    label: Label = Field(description="Label of its file system (ext4, FAT or exFAT).")
    readonly: bool = Field(default=False, description="true: nothing can be written to it.")
