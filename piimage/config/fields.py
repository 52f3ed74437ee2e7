"""What the texts in a container's fields look like: capabilities, binds, variables, limits."""

import re
from typing import Annotated, Final

from pydantic import AfterValidator, BeforeValidator

from piimage.config.values import as_text, closest, did_you_mean, form, problem, quoted

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


def _capability(value: str) -> str:
    if value.lower() in ("all", "none"):
        return value.lower()
    if value not in CAPABILITIES:
        close = closest(value if value.upper().startswith("CAP_") else f"CAP_{value}", CAPABILITIES)
        raise problem(
            f"{quoted(value)} is no capability",
            close or "a name of capabilities(7), or all, none",
        )
    return value


def _alone(values: tuple[str, ...]) -> tuple[str, ...]:
    if len(values) > 1 and {"all", "none"} & set(values):
        raise problem("all and none stand alone", "a list of names, or [all], or [none]")
    return values


def _bind(value: str) -> str:
    parts = value.split(":")
    if len(parts) not in (2, 3) or not all(parts):
        raise problem(
            f"{quoted(value)} is no bind", "SOURCE:DESTINATION or SOURCE:DESTINATION:OPTIONS"
        )
    if not parts[1].startswith("/"):
        raise problem(
            f"the destination in {quoted(value)} is not absolute", "a path that begins with /"
        )
    return value


def _tmpfs(value: str) -> str:
    if value.count(":") > 1 or not value.startswith("/"):
        raise problem(f"{quoted(value)} is no tmpfs", "/DESTINATION or /DESTINATION:OPTION,OPTION")
    return value


def _cgroup(value: str) -> str:
    if any(part in ("", ".", "..") for part in value.strip("/").split("/")) or "\0" in value:
        raise problem(
            f"{quoted(value)} is no control group below the appliance's own",
            "a path such as greenhouse/pumps, without '.' and '..' parts",
        )
    return value


def _variable(value: str) -> str:
    if not re.match(r"[^=\0]+=", value) or "\0" in value:
        raise problem(f"{quoted(value)} sets no variable", "NAME=VALUE")
    return value


def _rlimit(value: str) -> str:
    parts = [part.strip() for part in value.split(",")]
    if len(parts) != 3 or not all(
        re.fullmatch("[0-9]+|unlimited", part.lower()) for part in parts[1:]
    ):
        raise problem(
            f"{quoted(value)} is no resource limit",
            "NAME,SOFT,HARD with numbers or unlimited, such as nofile,100,200",
        )
    name = parts[0].upper().removeprefix("RLIMIT_")
    if name not in RLIMITS:
        known = [limit.lower() for limit in RLIMITS]
        raise problem(f"{quoted(parts[0])} is no resource limit", did_you_mean(parts[0], known))
    return value


def _namespace(value: str) -> str:
    if value in ("host", "root", "new") or value.startswith("/"):
        return value
    raise problem(f"{quoted(value)} is no namespace", "host, new, or the path of one")


def _network(value: str) -> str:
    return value if value == "none" else _namespace(value)


_IMAGE: Final = "REGISTRY/NAME:TAG or NAME@sha256:DIGEST"


def _filled_in(value: str) -> str:
    # Not in the pattern: the schema is for files before their variables are filled in.
    if "${" in value:
        raise problem(f"{quoted(value)} is no image", _IMAGE)
    return value


def _identity(value: object) -> object:
    if isinstance(value, bool) or (isinstance(value, int) and not 0 <= value < 2**32 - 1):
        raise problem(
            f"{quoted(value)} is no user or group id", "a number from 0, or a container's name"
        )
    return value


Capability = Annotated[str, AfterValidator(_capability)]
Capabilities = Annotated[tuple[Capability, ...], AfterValidator(_alone)]
Bind = Annotated[str, AfterValidator(_bind)]
ControlGroup = Annotated[str, AfterValidator(_cgroup)]
"""A cgroup's path below that of the appliance, with or without a leading slash."""
TmpfsMount = Annotated[str, AfterValidator(_tmpfs)]
Variable = Annotated[str, AfterValidator(_variable)]
Rlimit = Annotated[str, AfterValidator(_rlimit)]
Namespace = Annotated[str, AfterValidator(_namespace)]
NetworkNamespace = Annotated[str, AfterValidator(_network)]
UserName = Annotated[
    str,
    BeforeValidator(as_text),
    *form(
        r"[A-Za-z0-9_][A-Za-z0-9_.-]*(:[A-Za-z0-9_][A-Za-z0-9_.-]*)?", "user", "USER or USER:GROUP"
    ),
]
Identity = Annotated[int | str, BeforeValidator(_identity)]
ImageName = Annotated[
    str,
    *form(r"[^\s]{1,512}", "image", _IMAGE),
    AfterValidator(_filled_in),
]
