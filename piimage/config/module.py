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
    """A kernel module: where its source is, and what its users may set."""

    name: ModuleName = Field(description="The module's name; its Kbuild file makes NAME.ko.")
    description: str = Field(default="", description="What it is for, in a sentence.")
    license: License = Field(description="SPDX expression of its source, such as GPL-2.0-only.")
    source: tuple[KernelFile, ...] = Field(
        default=(),
        description="Files of the locked kernel's own source, laid beside this folder's by name.",
    )
    prebuilt: PathInRoot | None = Field(
        default=None, description="A finished .ko of this folder, for who has no source."
    )
    parameters: Texts = Field(default={}, description="Parameters: NAME: what it does.")

    @model_validator(mode="after")
    def _built_or_not(self) -> Self:
        if self.prebuilt is not None and self.source:
            raise problem("prebuilt beside source", "one of the two")
        return self
