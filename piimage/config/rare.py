"""Sections of LinuxKit's that few files have."""

from typing import Literal, Self

from pydantic import Field, model_validator

from piimage.config.fields import ImageName
from piimage.config.values import Name, Part, Strings, problem


class Volume(Part):
    """A folder that containers share, filled from an image."""

    name: Name = Field(description="Its name, a possible source of binds.")
    image: ImageName | None = Field(default=None, description="What fills it; empty if left out.")
    readonly: bool = Field(default=False, description="Nobody may write to it.")
    format: Literal["filesystem", "oci"] = Field(
        default="filesystem", description="Unpacked, or an OCI layout."
    )
    platforms: Strings = Field(default=(), description="With format oci: the platforms to take.")

    @model_validator(mode="after")
    def _of_an_image(self) -> Self:
        if self.platforms and self.format != "oci":
            raise problem("platforms without format: oci", "nothing: the Pi's own is taken")
        if self.readonly and self.image is None:
            raise problem("an empty volume that nobody may write to", "image: with it")
        if self.format == "oci" and self.image is None:
            raise problem("format: oci without an image", "image: with it")
        return self


class Trust(Part):
    """Whose images get what their label asks for beyond the defaults; the lock records what it is.

    In LinuxKit these are the images whose signatures are checked; here digests pin every image.
    """

    image: tuple[ImageName, ...] = Field(
        default=(), description="NAME for each of its tags, NAME:TAG, or NAME@sha256:DIGEST."
    )
    org: Strings = Field(
        default=(),
        description="What stands before an image's last /, a registry included: linuxkit, or "
        "registry.example.org/team.",
    )
