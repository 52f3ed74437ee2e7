"""Types of a container's text fields: capabilities, binds, variables, limits."""

import re
from typing import Annotated, Final

from pydantic import AfterValidator, BeforeValidator

from piimage.config.mounting import check_destination, check_options
from piimage.config.values import as_text, closest, did_you_mean, form, problem, quoted
from piimage.errors import InputError
from piimage.oci.reference import parse

_CAPABILITIES: Final = """
AUDIT_CONTROL AUDIT_READ AUDIT_WRITE BLOCK_SUSPEND BPF CHECKPOINT_RESTORE CHOWN DAC_OVERRIDE
DAC_READ_SEARCH FOWNER FSETID IPC_LOCK IPC_OWNER KILL LEASE LINUX_IMMUTABLE MAC_ADMIN MAC_OVERRIDE
MKNOD NET_ADMIN NET_BIND_SERVICE NET_BROADCAST NET_RAW PERFMON SETFCAP SETGID SETPCAP SETUID SYSLOG
SYS_ADMIN SYS_BOOT SYS_CHROOT SYS_MODULE SYS_NICE SYS_PACCT SYS_PTRACE SYS_RAWIO SYS_RESOURCE
SYS_TIME SYS_TTY_CONFIG WAKE_ALARM
"""
_RLIMITS: Final = """
AS CORE CPU DATA FSIZE LOCKS MEMLOCK MSGQUEUE NICE NOFILE NPROC RSS RTPRIO RTTIME SIGPENDING STACK
"""
CAPABILITIES: Final = tuple(f"CAP_{name}" for name in _CAPABILITIES.split())
"""Every capability of Linux (capabilities(7)), sorted."""

RLIMITS: Final = tuple(_RLIMITS.split())
"""The resource limits of getrlimit(2), without RLIMIT_."""

UNLIMITED: Final = 2**64 - 1
"""RLIM_INFINITY of a 64-bit kernel."""

MOST_ID: Final = 2**31 - 1
"""The highest user or group ID that runc accepts (moby/sys/user, "maxID")."""

# The limits also apply to runc before it starts the program. Measured with runc 1.1: it needs
# 11 files, 10 kB of stack, 80 MiB of data and 1 GB of addresses (x86-64).
_LEAST_LIMITS: Final = {
    "AS": 2 << 30, "CPU": 1, "DATA": 256 << 20, "NOFILE": 32, "STACK": 64 << 10,
}  # fmt: skip
_MOST_FILES: Final = 1_048_576  # fs.nr_open, Linux, Documentation/admin-guide/sysctl/fs.rst


def _capability(value: str) -> str:
    if value.lower() in ("all", "none"):
        return value.lower()
    if value not in CAPABILITIES:
        close = closest(value if value.upper().startswith("CAP_") else f"CAP_{value}", CAPABILITIES)
        raise problem(
            f"{quoted(value)} is not a Linux capability",
            close or "a name of capabilities(7), or all, none",
        )
    return value


def _alone(values: tuple[str, ...]) -> tuple[str, ...]:
    if len(values) > 1 and {"all", "none"} & set(values):
        raise problem("all or none beside other names", "a list of names, or [all], or [none]")
    return values


def _bind(value: str) -> str:
    parts = value.split(":")
    if len(parts) not in (2, 3) or not all(parts):
        raise problem(
            f"{quoted(value)} is not a valid bind",
            "SOURCE:DESTINATION or SOURCE:DESTINATION:OPTIONS",
        )
    if not parts[1].startswith("/"):
        raise problem(
            f"the destination in {quoted(value)} is not absolute", "a path that begins with /"
        )
    check_destination("bind", *parts[:2])
    check_options("bind", parts[2].split(",") if parts[2:] else ())
    return value


def _tmpfs(value: str) -> str:
    if value.count(":") > 1 or not value.startswith("/"):
        raise problem(
            f"{quoted(value)} is not a valid tmpfs mount",
            "/DESTINATION or /DESTINATION:OPTION,OPTION",
        )
    destination, _, options = value.partition(":")
    check_destination("tmpfs", "tmpfs", destination)
    check_options("tmpfs", options.split(","))
    return value


def _cgroup(value: str) -> str:
    if any(part in ("", ".", "..") for part in value.strip("/").split("/")) or "\0" in value:
        raise problem(
            f"{quoted(value)} is not a valid cgroup path",
            "a path such as greenhouse/pumps, without '.' and '..' parts",
        )
    return value


def _variable(value: str) -> str:
    if not re.match(r"[^=\0]+=", value) or "\0" in value:
        raise problem(f"{quoted(value)} does not set a variable", "NAME=VALUE")
    return value


def _rlimit(value: str) -> str:
    parts = [part.strip() for part in value.split(",")]
    if len(parts) != 3 or not all(
        re.fullmatch("[0-9]+|unlimited", part.lower()) for part in parts[1:]
    ):
        raise problem(
            f"{quoted(value)} is not a valid resource limit",
            "NAME,SOFT,HARD with numbers or unlimited, such as nofile,100,200",
        )
    name = rlimit_name(parts[0])
    if name not in RLIMITS:
        known = [limit.lower() for limit in RLIMITS]
        raise problem(
            f"{quoted(parts[0])} is not a valid resource limit", did_you_mean(parts[0], known)
        )
    soft, hard = (UNLIMITED if part.lower() == "unlimited" else int(part) for part in parts[1:])
    if not soft <= hard <= UNLIMITED:
        raise problem(
            f"the soft limit of {quoted(value)} is above its hard limit", "NAME,SOFT,HARD"
        )
    if soft < (least := _LEAST_LIMITS.get(name, 0)):
        raise problem(f"{quoted(value)} is too low for a container to start", f"{least} or more")
    if name == "NOFILE" and hard > _MOST_FILES:
        raise problem(
            f"{quoted(value)} is above the limit of the kernel", f"at most {_MOST_FILES} open files"
        )
    return value


def rlimit_name(text: str) -> str:
    """Return the resource name of an rlimit, in capitals and without RLIMIT_."""
    return text.partition(",")[0].strip().upper().removeprefix("RLIMIT_")


def _each_once(values: tuple[str, ...]) -> tuple[str, ...]:
    names = [rlimit_name(value) for value in values]
    repeated = next((name for name in names if names.count(name) > 1), None)
    if repeated:
        raise problem(f"two limits of {repeated.lower()}", "one NAME,SOFT,HARD for each")
    return values


def _program(values: tuple[str, ...]) -> tuple[str, ...]:
    if values and not values[0].strip():
        raise problem("a program without a name", "[PROGRAM, ARGUMENT…]")
    if any("\0" in value for value in values):
        raise problem("a zero byte in an argument", "[PROGRAM, ARGUMENT…]")
    return values


def _hidden(value: str) -> str:
    if not value.startswith("/") or "\0" in value:
        raise problem(f"{quoted(value)} is not a valid absolute path", "a path that begins with /")
    return value


def _user(value: str) -> str:
    for part in value.split(":"):
        if part.isdecimal() and int(part) > MOST_ID:
            raise problem(f"{quoted(value)} has an ID that is too high", f"at most {MOST_ID}")
    return value


def _namespace(value: str) -> str:
    if value in ("host", "root", "new") or value.startswith("/"):
        return value
    raise problem(
        f"{quoted(value)} is not a valid namespace", "host, new, or the path of a namespace"
    )


BRIDGED: Final = ("bridge", "internal")
"""The values of `net` of containers on the Pi's bridge; those of `internal` reach only these."""


def _network(value: str) -> str:
    if value in (*BRIDGED, "none", "host", "root", "new") or value.startswith("/"):
        return value
    raise problem(
        f"{quoted(value)} is not a valid network",
        "host, bridge, internal, none, new, or the path of a namespace",
    )


def _user_namespace(value: str) -> str:
    if value in ("auto", "host", "root", "new") or value.startswith("/"):
        return value
    raise problem(
        f"{quoted(value)} is not a valid namespace", "auto, host, new, or the path of a namespace"
    )


_IMAGE: Final = "REGISTRY/NAME:TAG or NAME@sha256:DIGEST"


def _filled_in(value: str) -> str:
    # The pattern does not exclude `${`, since the schema describes files with variables.
    if "${" in value:
        raise problem(f"{quoted(value)} is not a valid image reference", _IMAGE)
    return value


def _reference(value: str) -> str:
    if not value.startswith("@pkg:"):  # @pkg:PATH of LinuxKit is not an image reference
        try:
            parse(value)
        except InputError as error:
            raise problem(error.message, error.hint or _IMAGE) from error
    return value


def _identity(value: object) -> object:
    if isinstance(value, bool) or (isinstance(value, int) and not 0 <= value <= MOST_ID):
        raise problem(
            f"{quoted(value)} is not a valid user or group ID",
            f"a number from 0 to {MOST_ID}, or a container's name",
        )
    return value


Capability = Annotated[str, AfterValidator(_capability)]
Capabilities = Annotated[tuple[Capability, ...], AfterValidator(_alone)]
Bind = Annotated[str, AfterValidator(_bind)]
ControlGroup = Annotated[str, AfterValidator(_cgroup)]
"""The path of a cgroup below the appliance's own; a leading slash is optional."""
TmpfsMount = Annotated[str, AfterValidator(_tmpfs)]
Variable = Annotated[str, AfterValidator(_variable)]
Rlimits = Annotated[tuple[Annotated[str, AfterValidator(_rlimit)], ...], AfterValidator(_each_once)]
Program = Annotated[tuple[str, ...], AfterValidator(_program)]
"""A program and its arguments."""
HiddenPath = Annotated[str, AfterValidator(_hidden)]
Namespace = Annotated[str, AfterValidator(_namespace)]
NetworkNamespace = Annotated[str, AfterValidator(_network)]
UserNamespace = Annotated[str, AfterValidator(_user_namespace)]
UserName = Annotated[
    str,
    BeforeValidator(as_text),
    *form(
        r"[A-Za-z0-9_][A-Za-z0-9_.-]*(:[A-Za-z0-9_][A-Za-z0-9_.-]*)?", "user", "USER or USER:GROUP"
    ),
    AfterValidator(_user),
]
Identity = Annotated[int | str, BeforeValidator(_identity)]
ImageName = Annotated[
    str,
    *form(r"[^\s]{1,512}", "image reference", _IMAGE),
    AfterValidator(_filled_in),
    AfterValidator(_reference),
]
