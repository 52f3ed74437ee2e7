"""Sections of LinuxKit that few files use."""

from typing import Literal, Self

from pydantic import Field, model_validator

from piimage.config.fields import ImageName
from piimage.config.values import Name, Part, Strings, problem


class Volume(Part):
    """A folder that containers share, optionally filled from an image."""

    name: Name = Field(description="The volume's name, which `binds` can use as a source.")
    image: ImageName | None = Field(
        default=None, description="Image with the initial content; the volume is empty if left out."
    )
    readonly: bool = Field(default=False, description="Containers can only read it.")
    format: Literal["filesystem", "oci"] = Field(
        default="filesystem", description="filesystem: the image is unpacked; oci: an OCI layout."
    )
    platforms: Strings = Field(default=(), description="With format oci: the platforms to include.")

    @model_validator(mode="after")
    def _of_an_image(self) -> Self:
        if self.platforms and self.format != "oci":
            raise problem("platforms without format: oci", "format: oci as well, or no platforms")
        if self.readonly and self.image is None:
            raise problem(
                "a read-only volume without an image", "image: as well, or a writable volume"
            )
        if self.format == "oci" and self.image is None:
            raise problem("format: oci without an image", "image: as well")
        return self


class Trust(Part):
    """Images whose labels may request more than the defaults; the lock records the requests.

    LinuxKit checks the signatures of these images; piimage pins every image by digest.
    """

    image: tuple[ImageName, ...] = Field(
        default=(), description="NAME (all its tags), NAME:TAG, or NAME@sha256:DIGEST."
    )
    org: Strings = Field(
        default=(),
        description="Prefix of image names up to the last /, with the registry: linuxkit, or "
        "registry.example.org/team.",
    )
