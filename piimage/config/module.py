"""A module folder: kernel-modules/NAME/module.yml."""

from typing import Annotated, Self

from pydantic import Field, model_validator

from piimage.config.models import ModuleName
from piimage.config.service import License
from piimage.config.values import Part, PathInRoot, Texts, form, problem

KernelFile = Annotated[
    str,
    *form(
        r"[A-Za-z0-9_+-][A-Za-z0-9_.,+-]*(/[A-Za-z0-9_+-][A-Za-z0-9_.,+-]*)*",
        "path in the kernel source",
        "a path such as drivers/i2c/i2c-stub.c",
    ),
]


class KernelModule(Part):
    """A kernel module: its source and its parameters."""

    name: ModuleName = Field(description="Name of the module; its Kbuild file builds NAME.ko.")
    description: str = Field(default="", description="Purpose of the module, in a sentence.")
    license: License = Field(description="SPDX expression of the source, such as GPL-2.0-only.")
    source: tuple[KernelFile, ...] = Field(
        default=(),
        description="Files of the locked kernel's source to copy into the build, beside the "
        "folder's own.",
    )
    prebuilt: PathInRoot | None = Field(
        default=None, description="Path of a prebuilt .ko in this folder, if there is no source."
    )
    parameters: Texts = Field(default={}, description="Parameters: NAME: description.")

    @model_validator(mode="after")
    def _built_or_not(self) -> Self:
        if self.prebuilt is not None and self.source:
            raise problem("prebuilt together with source", "only one of the two")
        return self
