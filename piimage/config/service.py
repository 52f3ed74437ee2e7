"""A container folder: services/NAME/service.yml."""

from typing import Annotated, Self

from pydantic import BeforeValidator, Field, model_validator

from piimage.config.container import ContainerConfig, Health, Restart, merge
from piimage.config.fields import Program, UserName, Variable
from piimage.config.rootfs import RootFileSystem
from piimage.config.values import AbsolutePath, Name, Strings, as_text, form, problem

Requirement = Annotated[
    str,
    *form(
        r"[A-Za-z0-9][A-Za-z0-9._-]*(\[[A-Za-z0-9,._-]+\])? *([=~!<>]=?[^;#\s]+)?( *;.*)?",
        "requirement",
        "NAME or NAME==VERSION (PEP 508)",
    ),
]
SourcePackage = Annotated[
    str,
    *form(
        r"[A-Za-z0-9][A-Za-z0-9._-]*==[0-9][A-Za-z0-9.!_-]*(\+[A-Za-z0-9.]+)?",
        "source package",
        "NAME==VERSION",
    ),
]
License = Annotated[str, BeforeValidator(as_text)]


class Service(RootFileSystem):
    """A container: its root file system, what it runs, and the defaults of its entry."""

    name: Name = Field(description="The container's name, and its image's.")
    wheels: tuple[Requirement, ...] = Field(
        default=(), description="Python packages for the target, from wheels."
    )
    sources: tuple[SourcePackage, ...] = Field(
        default=(),
        description="Python packages that have no wheel for the target, NAME==VERSION: "
        "cross-compiled from their source archives.",
    )
    python: Strings = Field(
        default=(), description="Folders with a pyproject.toml whose packages are laid in."
    )
    entrypoint: Program = Field(
        default=(), description="The program and its fixed arguments, as in a Dockerfile."
    )
    cmd: Strings = Field(
        default=(),
        description="Arguments that a `command:` of the entry replaces, as in a Dockerfile.",
    )
    user: UserName | None = Field(default=None, description="USER[:GROUP] that it runs as.")
    env: tuple[Variable, ...] = Field(default=(), description="NAME=VALUE, the environment.")
    cwd: AbsolutePath | None = Field(default=None, description="Working directory.")
    license: License | None = Field(default=None, description="SPDX expression of its own code.")
    health: Health | None = Field(default=None, description="Check whether it works.")
    restart: Restart | None = Field(default=None, description="Whether it is started again.")
    config: ContainerConfig = Field(
        default=ContainerConfig.model_construct(),
        description="Defaults of the entry that uses it; the image's org.mobyproject.config label.",
    )

    @model_validator(mode="after")
    def _said_once(self) -> Self:
        for name in ("user", "env", "cwd", "health", "restart"):
            if getattr(self, name) and getattr(self.config, name) is not None:
                raise problem(
                    f"{name} beside config, and in it", f"{name}: in one of the two places"
                )
        if self.config.command is not None and (self.entrypoint or self.cmd):
            raise problem("command in config beside entrypoint or cmd", "entrypoint: and cmd:")
        return self

    @property
    def container(self) -> ContainerConfig:
        """What the folder says of its container, for the label: all but program, user, env, cwd.

        Those four lie in the OCI image's own configuration.
        """
        own = ContainerConfig.model_construct(
            **{name: part for name in ("health", "restart") if (part := getattr(self, name))}
        )
        return merge(self.config, own)
