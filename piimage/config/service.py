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
    """A container: its root file system, its program, and the defaults of its entry."""

    name: Name = Field(description="Name of the container and of its image.")
    wheels: tuple[Requirement, ...] = Field(
        default=(), description="Python packages for the target, installed from wheels."
    )
    sources: tuple[SourcePackage, ...] = Field(
        default=(),
        description="Python packages without a wheel for the target, as NAME==VERSION; they are "
        "cross-compiled from their source archives.",
    )
    python: Strings = Field(
        default=(), description="Folders with a pyproject.toml whose packages are installed."
    )
    entrypoint: Program = Field(
        default=(), description="The program and its fixed arguments, as in a Dockerfile."
    )
    cmd: Strings = Field(
        default=(),
        description="Arguments that a `command:` of the entry replaces, as in a Dockerfile.",
    )
    user: UserName | None = Field(
        default=None, description="USER[:GROUP] that the program runs as."
    )
    env: tuple[Variable, ...] = Field(default=(), description="Environment variables: NAME=VALUE.")
    cwd: AbsolutePath | None = Field(default=None, description="Working directory.")
    license: License | None = Field(
        default=None, description="SPDX expression of the container's own code."
    )
    health: Health | None = Field(default=None, description="Health check.")
    restart: Restart | None = Field(default=None, description="When the container is restarted.")
    config: ContainerConfig = Field(
        default=ContainerConfig.model_construct(),
        description="Defaults of the entry that uses the folder; they become the image's label "
        "org.mobyproject.config.",
    )

    @model_validator(mode="after")
    def _set_once(self) -> Self:
        for name in ("user", "env", "cwd", "health", "restart"):
            if getattr(self, name) and getattr(self.config, name) is not None:
                raise problem(
                    f"{name} is set both beside config and in it", "one of the two places"
                )
        if self.config.command is not None and (self.entrypoint or self.cmd):
            raise problem(
                "config has command, although entrypoint or cmd is set", "only entrypoint and cmd"
            )
        return self

    @property
    def container(self) -> ContainerConfig:
        """The configuration for the label: all but program, user, env and cwd.

        These four belong to the OCI image's own configuration.
        """
        own = ContainerConfig.model_construct(
            **{name: part for name in ("health", "restart") if (part := getattr(self, name))}
        )
        return merge(self.config, own)
