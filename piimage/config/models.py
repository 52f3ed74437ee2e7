"""The YAML file: LinuxKit's sections with LinuxKit's meanings, and piimage's own."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, Self

from pydantic import AfterValidator, Field, model_validator

from piimage import resources
from piimage.config.boot import Boot, Data, Slots, kernel_options
from piimage.config.container import ContainerConfig, Log
from piimage.config.deferred import Deferred
from piimage.config.fields import Identity, ImageName
from piimage.config.values import (
    HostName,
    Mode,
    Name,
    PackageName,
    Part,
    PathInRoot,
    ShortPart,
    Strings,
    Texts,
    closest,
    form,
    problem,
    quoted,
)

if TYPE_CHECKING:
    from piimage.config.network import Network
    from piimage.config.rare import Trust, Volume
    from piimage.config.testing import TestPlan
else:  # few files need them, and every class costs time when it is made
    Network = Annotated[Any, Deferred("piimage.config.network", "Network")]
    TestPlan = Annotated[Any, Deferred("piimage.config.testing", "TestPlan")]
    Trust = Annotated[Any, Deferred("piimage.config.rare", "Trust")]
    Volume = Annotated[Any, Deferred("piimage.config.rare", "Volume")]

ModuleName = Annotated[
    str, *form(r"[A-Za-z0-9][A-Za-z0-9_-]*", "kernel module name", "a name such as i2c-dev")
]


def _options(line: str) -> str:
    return " ".join(kernel_options(tuple(line.split())))


VariableName = Annotated[
    str, *form(r"[A-Za-z_][A-Za-z0-9_]*", "variable name", "letters, digits and _")
]


class Kernel(Part):
    """The kernel; the board's own unless an image is named."""

    image: ImageName | None = Field(
        default=None, description="Image with the kernel, instead of the board's Debian kernel."
    )
    cmdline: Annotated[str, AfterValidator(_options)] | None = Field(
        default=None, description="Options added to the command line."
    )
    binary: PathInRoot | None = Field(
        default=None, description="The kernel's path in `image` (default kernel)."
    )
    tar: str | None = Field(
        default=None,
        description="Tar of modules in `image` (default kernel.tar); none for no modules.",
    )
    ucode: str | None = Field(default=None, description="Accepted; ARM has no microcode.")


class Entry(ContainerConfig):
    """One container: a name, one way to its root file system, and how it runs."""

    name: Name = Field(description="Its name; unique among services.")
    image: ImageName | None = Field(
        default=None,
        description="From a registry, by tag or digest; @pkg:PATH is LinuxKit's word for build.",
    )
    build: str | None = Field(
        default=None, description="A container folder with service.yml or Dockerfile."
    )
    context: str | None = Field(
        default=None,
        description="With build: a folder above it that the service.yml may name files from; "
        "else only its own folder.",
    )
    use: Name | None = Field(default=None, description="A container folder that piimage ships.")
    packages: tuple[PackageName, ...] | None = Field(
        default=None, description="Debian packages; what they depend on comes along."
    )
    entrypoint: Strings | None = Field(
        default=None, description="With packages: the program that runs."
    )

    trust: Strings = Field(
        default=(),
        description="What its image's label asks for and gets, such as 'pid: host'; `piimage lock` "
        "prints the line.",
    )

    @property
    def folder(self) -> Path | None:
        """The container folder, if `build` or `use` names one."""
        if self.use is not None:
            return resources.path("services") / self.use
        return Path(self.build) if self.build is not None else None

    @property
    def context_folder(self) -> Path | None:
        """What the container folder may name files from, if `context` says so."""
        return Path(self.context) if self.context is not None else None


class File(Part):
    """A file, folder or link of the system's root."""

    path: PathInRoot = Field(description="Where it lies, such as etc/motd.")
    contents: str | None = Field(default=None, description="The file's text.")
    source: str | None = Field(
        default=None, description="A file of this computer that is copied; ~ is allowed."
    )
    directory: bool = Field(default=False, description="It is a folder.")
    symlink: str | None = Field(default=None, description="It is a link to this.")
    metadata: Literal["yaml", "json"] | None = Field(
        default=None, description="Its content is this configuration, in this form."
    )
    optional: bool = Field(default=False, description="No error if the source is not there.")
    mode: Mode | None = Field(
        default=None, description='Octal text, such as "0644"; 0600 if left out, folders 0700.'
    )
    uid: Identity = Field(default=0, description="User id, or the name of a container.")
    gid: Identity = Field(default=0, description="Group id, or the name of a container.")

    @model_validator(mode="after")
    def _one_kind(self) -> Self:
        kinds = {
            "contents": self.contents is not None,
            "source": bool(self.source),
            "directory": self.directory,
            "symlink": bool(self.symlink),
            "metadata": self.metadata is not None,
        }
        said = [kind for kind, given in kinds.items() if given]
        if len(said) != 1:
            what = " and ".join(said) if said else "nothing that says what it is"
            raise problem(f"{quoted(self.path)} has {what}", f"exactly one of {', '.join(kinds)}")
        return self

    @property
    def permissions(self) -> int:
        """The mode as a number, with LinuxKit's defaults."""
        return int(self.mode or ("0700" if self.directory else "0600"), 8)


class Module(ShortPart):
    """A kernel module that is loaded at boot."""

    short_key = "name"

    name: ModuleName | None = Field(default=None, description="A module of the kernel.")
    build: str | None = Field(default=None, description="A module folder with module.yml.")
    params: Texts = Field(default={}, description="Parameters: NAME: VALUE.")

    @model_validator(mode="after")
    def _one_source(self) -> Self:
        if (self.name is None) == (self.build is None):
            raise problem("a module with name and build, or neither", "name: or build:")
        return self


class Ssh(Part):
    """Who may log in over SSH (with a service that uses sshd)."""

    authorized_keys: Strings = Field(
        default=(), description="Public keys, or files that hold them; ~ is allowed."
    )
    host_key: str | None = Field(
        default=None,
        description="File of its host key, ed25519, made by the build if it is not there.",
    )


class Logging(Log):
    """What services print: a ring each, and the console."""

    console: bool = Field(default=False, description="Mirror all of it to the console.")


def _known_zone(name: str) -> str:
    if name == "UTC":
        return name
    from piimage.zones import zone_names, zone_of  # noqa: PLC0415  # most files leave it at UTC

    zone = zone_of(name)
    if zone is None:
        raise problem(
            f"there is no time zone {quoted(name)}",
            closest(name, zone_names()) or "a name such as Europe/Berlin",
        )
    return zone


class Appliance(Part):
    """The whole file."""

    variables: tuple[VariableName, ...] = Field(
        default=(),
        description="Names that `${NAME}` in this file stands for; any other `${` is text.",
    )
    board: Name = Field(
        default="qemu-virt", description="The board; a LinuxKit file has none and gets qemu-virt."
    )
    hostname: HostName = Field(default="piimage", description="Its name on the network.")
    kernel: Kernel = Field(default=Kernel.model_construct(), description="The kernel.")
    init: tuple[ImageName, ...] = Field(
        default=(), description="Images unpacked into the root, in turn."
    )
    onboot: tuple[Entry, ...] = Field(default=(), description="Run once, in order, at boot.")
    onshutdown: tuple[Entry, ...] = Field(default=(), description="Run once, in order, at the end.")
    services: tuple[Entry, ...] = Field(default=(), description="Kept running.")
    volumes: tuple[Volume, ...] = Field(default=(), description="Folders that containers share.")
    files: tuple[File, ...] = Field(default=(), description="Files of the system's root.")
    modules: tuple[Module, ...] = Field(
        default=(), description="Kernel modules loaded at boot, in order."
    )
    ssh: Ssh = Field(default=Ssh.model_construct(), description="Who may log in.")
    network: Network | None = Field(default=None, description="How it reaches the network.")
    boot: Boot = Field(default=Boot.model_construct(), description="Firmware and command line.")
    data: Data = Field(default=Data.model_construct(), description="The persistent partition.")
    slots: Slots = Field(default=Slots.model_construct(), description="The two versions' places.")
    console: bool = Field(
        default=True,
        description="Messages of kernel and system on the serial port and a screen; false: "
        "none, and both are free.",
    )
    log: Logging = Field(default=Logging.model_construct(), description="What services print.")
    timezone: Annotated[
        str,
        *form(
            r"[A-Za-z0-9_+-]+(/[A-Za-z0-9_+-]+)*", "time zone name", "a name such as Europe/Berlin"
        ),
        AfterValidator(_known_zone),
    ] = Field(default="UTC", description="Time zone by its name in the tz database.")
    sysctl: Texts = Field(default={}, description="Kernel settings: KEY: VALUE.")
    test: TestPlan | None = Field(default=None, description="Checks for `piimage test`.")
    trust: Trust | None = Field(
        default=None, description="Images that get what their label asks for."
    )

    @model_validator(mode="before")
    @classmethod
    def _with_wifi(cls, data: Any) -> Any:  # noqa: ANN401  # whatever the YAML holds
        """Add the ready-made service that joins the wireless network, unless there is one."""
        network = data.get("network") if isinstance(data, dict) else None
        if not isinstance(network, dict) or network.get("wifi") is None:
            return data
        services = data.get("services") or []
        if not isinstance(services, (list, tuple)) or any(_is_wifi(one) for one in services):
            return data
        return {**data, "services": [*services, {"name": _WIFI, "use": _WIFI}]}


def _is_wifi(entry: object) -> bool:
    return isinstance(entry, dict) and _WIFI in (entry.get("name"), entry.get("use"))


_WIFI = "wifi"
