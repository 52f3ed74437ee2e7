"""The YAML file: the sections of LinuxKit, with LinuxKit's meaning, and piimage's own."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, Self

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    TypeAdapter,
    ValidationError,
    model_validator,
)

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
    from piimage.config.disks import Disk
    from piimage.config.gpio import GpioLine
    from piimage.config.network import Network
    from piimage.config.rare import Trust, Volume
    from piimage.config.sensors import Sensor
    from piimage.config.signing import Signing
    from piimage.config.testing import TestPlan
    from piimage.config.updates import Updates
else:  # few files need them, and each class takes time to create
    Disk = Annotated[Any, Deferred("piimage.config.disks", "Disk")]
    Network = Annotated[Any, Deferred("piimage.config.network", "Network")]
    TestPlan = Annotated[Any, Deferred("piimage.config.testing", "TestPlan")]
    Trust = Annotated[Any, Deferred("piimage.config.rare", "Trust")]
    Volume = Annotated[Any, Deferred("piimage.config.rare", "Volume")]
    GpioLine = Annotated[Any, Deferred("piimage.config.gpio", "GpioLine")]
    Sensor = Annotated[Any, Deferred("piimage.config.sensors", "Sensor")]
    Signing = Annotated[Any, Deferred("piimage.config.signing", "Signing")]
    Updates = Annotated[Any, Deferred("piimage.config.updates", "Updates")]

ModuleName = Annotated[
    str, *form(r"[A-Za-z0-9][A-Za-z0-9_-]*", "kernel module name", "a name such as i2c-dev")
]


def _options(line: str) -> str:
    return " ".join(kernel_options(tuple(line.split())))


VariableName = Annotated[
    str, *form(r"[A-Za-z_][A-Za-z0-9_]*", "variable name", "letters, digits and _")
]


class Kernel(Part):
    """The kernel: that of the board, unless `image` names another."""

    image: ImageName | None = Field(
        default=None, description="Image with the kernel, instead of the board's Debian kernel."
    )
    cmdline: Annotated[str, AfterValidator(_options)] | None = Field(
        default=None, description="Options added to the kernel's command line."
    )
    binary: PathInRoot | None = Field(
        default=None, description="Path of the kernel in `image` (default: kernel)."
    )
    tar: str | None = Field(
        default=None,
        description="Path of the tar of modules in `image` (default: kernel.tar); none: no "
        "modules.",
    )
    ucode: str | None = Field(default=None, description="Ignored, since ARM has no microcode.")


class Entry(ContainerConfig):
    """One container: its name, one source of its root file system, and its configuration."""

    name: Name = Field(description="Name of the container; unique among services.")
    image: ImageName | None = Field(
        default=None,
        description="Image of a registry, by tag or digest; @pkg:PATH is LinuxKit's form of build.",
    )
    build: str | None = Field(
        default=None, description="A container folder with service.yml or Dockerfile."
    )
    context: str | None = Field(
        default=None,
        description="With build: a folder above it, so that its service.yml can use files of that "
        "folder, not only of its own.",
    )
    use: Name | None = Field(default=None, description="A container folder that piimage ships.")
    packages: tuple[PackageName, ...] | None = Field(
        default=None, description="Debian packages; their dependencies are added."
    )
    entrypoint: Strings | None = Field(
        default=None, description="With packages: the program that the container runs."
    )

    trust: Strings = Field(
        default=(),
        description="What the image's label requests and is granted, such as 'pid: host'; "
        "`piimage lock` prints the line.",
    )

    @property
    def folder(self) -> Path | None:
        """The container folder, if `build` or `use` names one."""
        if self.use is not None:
            return resources.path("services") / self.use
        return Path(self.build) if self.build is not None else None

    @property
    def context_folder(self) -> Path | None:
        """The folder whose files the container folder may use, if `context` names one."""
        return Path(self.context) if self.context is not None else None


class File(Part):
    """A file, folder or link of the system's root."""

    path: PathInRoot = Field(description="Path in the system, such as etc/motd.")
    contents: str | None = Field(default=None, description="The file's text.")
    source: str | None = Field(
        default=None, description="File of this computer to copy; ~ is allowed."
    )
    directory: bool = Field(default=False, description="true: create a folder.")
    symlink: str | None = Field(default=None, description="Create a symbolic link to this target.")
    metadata: Literal["yaml", "json"] | None = Field(
        default=None, description="Write this configuration to the file, in this format."
    )
    optional: bool = Field(
        default=False, description="true: no error if the source does not exist."
    )
    mode: Mode | None = Field(
        default=None,
        description='Octal permission bits, such as "0644"; default 0600, for folders 0700.',
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
        given = [kind for kind, is_given in kinds.items() if is_given]
        if len(given) != 1:
            content = " and ".join(given) if given else "no content"
            raise problem(
                f"{quoted(self.path)} has {content}", f"exactly one of {', '.join(kinds)}"
            )
        return self

    @property
    def permissions(self) -> int:
        """The mode as a number, with LinuxKit's defaults."""
        return int(self.mode or ("0700" if self.directory else "0600"), 8)


class Module(ShortPart):
    """A kernel module that is loaded at boot."""

    short_key = "name"

    name: ModuleName | None = Field(default=None, description="Name of a module of the kernel.")
    build: str | None = Field(default=None, description="A module folder with module.yml.")
    params: Texts = Field(default={}, description="Parameters: NAME: VALUE.")

    @model_validator(mode="after")
    def _one_source(self) -> Self:
        if (self.name is None) == (self.build is None):
            raise problem("a module with both name and build, or neither", "name: or build:")
        return self


class Ssh(Part):
    """Access over SSH, if a service runs sshd."""

    authorized_keys: Strings = Field(
        default=(), description="Public keys, or paths of key files; ~ is allowed."
    )
    host_key: str | None = Field(
        default=None,
        description="File of the ed25519 host key; the build creates it if it does not exist.",
    )


class Logging(Log):
    """The output of services: a bounded log for each, and the console."""

    console: bool = Field(default=False, description="true: also show the output on the console.")


def _known_zone(name: str) -> str:
    if name == "UTC":
        return name
    from piimage.zones import zone_names, zone_of  # noqa: PLC0415  # most files use UTC

    zone = zone_of(name)
    if zone is None:
        raise problem(
            f"there is no time zone {quoted(name)}",
            closest(name, zone_names()) or "a name such as Europe/Berlin",
        )
    return zone


def _console(value: object) -> bool | Literal["hdmi"]:
    """Return the value of `console`."""
    if value == "hdmi":
        return "hdmi"
    try:
        return TypeAdapter(bool).validate_python(value)
    except ValidationError:
        text = f"{quoted(value)} is neither a truth value nor hdmi"
        raise problem(text, "true, false or hdmi") from None


OciRuntime = Literal["crun", "runc"]


class Appliance(Part):
    """The whole file."""

    variables: tuple[VariableName, ...] = Field(
        default=(),
        description="Variables of this file: `${NAME}` stands for their values; any other `${` is "
        "text.",
    )
    board: Name = Field(
        default="qemu-virt",
        description="Name of the board; LinuxKit files have none, so qemu-virt is the default.",
    )
    hostname: HostName = Field(default="piimage", description="Host name of the appliance.")
    kernel: Kernel = Field(default=Kernel.model_construct(), description="The kernel.")
    init: tuple[ImageName, ...] = Field(
        default=(), description="Images that are unpacked into the root, in order."
    )
    onboot: tuple[Entry, ...] = Field(
        default=(), description="Containers that run once at boot, in order."
    )
    onshutdown: tuple[Entry, ...] = Field(
        default=(), description="Containers that run once at shutdown, in order."
    )
    services: tuple[Entry, ...] = Field(default=(), description="Containers that are kept running.")
    runtime: OciRuntime = Field(
        default="crun",
        description="The OCI runtime that starts the containers: crun, which takes less memory and "
        "starts them sooner, or runc.",
    )
    volumes: tuple[Volume, ...] = Field(default=(), description="Folders that containers share.")
    files: tuple[File, ...] = Field(
        default=(), description="Files, folders and links of the system's root."
    )
    modules: tuple[Module, ...] = Field(
        default=(), description="Kernel modules to load at boot, in order."
    )
    sensors: tuple[Sensor, ...] = Field(
        default=(),
        description="Chips that the kernel's drivers measure; `use: sensors` publishes the values.",
    )
    gpio: tuple[GpioLine, ...] = Field(
        default=(),
        description="Lines of GPIO that the system holds: inputs, counters of pulses, and outputs; "
        "`use: sensors` publishes them.",
    )
    disks: tuple[Disk, ...] = Field(
        default=(),
        description="USB sticks and other disks that are mounted at /media/NAME when they are "
        "plugged in.",
    )
    ssh: Ssh = Field(default=Ssh.model_construct(), description="Access over SSH.")
    network: Network | None = Field(default=None, description="The network: WiFi and Ethernet.")
    boot: Boot = Field(
        default=Boot.model_construct(), description="Settings of the firmware, and kernel options."
    )
    data: Data = Field(
        default=Data.model_construct(),
        description="The partition that persists across updates.",
    )
    slots: Slots = Field(
        default=Slots.model_construct(), description="The two slots for versions of the system."
    )
    version: Annotated[int, Field(ge=0, lt=1 << 31)] = Field(
        default=0,
        description="Number of this version of the system. A Pi takes no system with a lower "
        "number than it had (or the same number and an older lock), unless `deploy` has "
        "--allow-downgrade.",
    )
    signing: Signing | None = Field(
        default=None,
        description="Signatures: the Pi takes only systems that are signed with a trusted key.",
    )
    updates: Updates | None = Field(
        default=None,
        description="The update server that the Pi calls by itself; needs `signing`.",
    )
    console: Annotated[bool | Literal["hdmi"], BeforeValidator(_console)] = Field(
        default=True,
        description="true: the serial port and a screen show messages of the kernel and the "
        "system; false: no messages, and both are free for services; hdmi: as true, and the screen "
        "also shows the name of the Pi, its addresses and what failed, whenever that changes.",
    )
    log: Logging = Field(default=Logging.model_construct(), description="The output of services.")
    timezone: Annotated[
        str,
        *form(
            r"[A-Za-z0-9_+-]+(/[A-Za-z0-9_+-]+)*", "time zone name", "a name such as Europe/Berlin"
        ),
        AfterValidator(_known_zone),
    ] = Field(default="UTC", description="Name of the time zone in the tz database.")
    sysctl: Texts = Field(default={}, description="Kernel settings (sysctl): KEY: VALUE.")
    test: TestPlan | None = Field(default=None, description="Checks for `piimage test`.")
    trust: Trust | None = Field(
        default=None, description="Images whose labels may request more than the defaults."
    )

    @model_validator(mode="before")
    @classmethod
    def _with_wifi(cls, data: Any) -> Any:  # noqa: ANN401  # any YAML
        """Add the ready-made service `wifi` for `network: wifi:`, unless a service does this."""
        network = data.get("network") if isinstance(data, dict) else None
        if not isinstance(network, dict) or network.get("wifi") is None:
            return data
        services = data.get("services") or []
        if not isinstance(services, (list, tuple)) or any(_is_wifi(entry) for entry in services):
            return data
        return {**data, "services": [*services, {"name": _WIFI, "use": _WIFI}]}


def _is_wifi(entry: object) -> bool:
    return isinstance(entry, dict) and _WIFI in (entry.get("name"), entry.get("use"))


_WIFI = "wifi"
