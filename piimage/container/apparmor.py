"""AppArmor: which profile confines a container, and what a profile of the user's own may be.

The names of the shipped profiles are those in ``appliance/apparmor``. Sources: apparmor.d(5);
OCI runtime-spec 1.0.2, config.md, ``apparmorProfile``.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Final

from piimage.config.container import PROFILE_WORDS, ContainerConfig
from piimage.container.capabilities import administers
from piimage.container.mounts import complete_mount
from piimage.errors import PiimageError

DEFAULT: Final = "piimage-default"
"""The shipped profile of most containers."""

DEFAULT_SYS: Final = "piimage-default-sys"
"""The same without the rule that denies writes below /sys, for a container with a mount there."""

DOCKER: Final = "docker-default"
"""The profile that Docker gives each of its containers, and which it finds loaded by this name."""

_HEADER: Final = re.compile(
    r"^profile[ \t]+([A-Za-z0-9][A-Za-z0-9_.-]{0,60})([ \t]+flags=\([a-z_, ]*\))?[ \t]*\{", re.M
)
# What the parser would read from the build host.
_OUTSIDE: Final = re.compile(r"^[ \t]*(?:#?include\b|abi\b)", re.M)
_PROFILES: Final = re.compile(r"^(?:profile\b|[/\"@^]|hat\b)", re.M)


@dataclass(frozen=True)
class OwnProfile:
    """A profile of the user's: its name on the Pi, and its text with that name."""

    name: str
    text: str


def shipped_profile(config: ContainerConfig) -> str | None:
    """Return the name of the shipped profile for a container; None if it has none.

    A container with CAP_SYS_ADMIN may mount and write to the kernel's files, which the profile
    denies: it gets the profile only if its `apparmor` says ``default``.
    """
    if config.apparmor not in PROFILE_WORDS or config.apparmor == "unconfined":
        return None
    if config.apparmor is None and administers(config):
        return None
    return DEFAULT_SYS if _has_mount_in_sys(config) else DEFAULT


def _has_mount_in_sys(config: ContainerConfig) -> bool:
    """Tell whether the file grants a mount below /sys: whether it is writable, its options say."""
    binds = [text.split(":")[1] for text in config.binds or ()]
    mounts = [complete_mount(mount)["destination"] for mount in config.mounts or ()]
    return any(PurePosixPath(path).is_relative_to("/sys") for path in (*binds, *mounts))


def own_profile(data: bytes) -> OwnProfile:
    """Return the profile in the file `data`, under a name that changes with its text.

    So a deploy does not change the rules of a container that it leaves alone. Raises PiimageError
    ``oci.apparmor`` unless the text is one profile with a plain name, which reads no other file.
    """
    try:
        text = data.decode()
    except UnicodeDecodeError:
        raise _refused("it is not UTF-8 text") from None
    if outside := _OUTSIDE.search(text):
        raise _refused(
            f"line {_line(text, outside.start())} includes another file; write the rules themselves"
        )
    headers = list(_HEADER.finditer(text))
    if len(headers) != 1 or len(_PROFILES.findall(text)) != 1:
        raise _refused("it has to be one profile, which begins with `profile NAME {`")
    (header,) = headers
    name = f"piimage-{header[1]}-{hashlib.sha256(data).hexdigest()[:12]}"
    return OwnProfile(name, text[: header.start(1)] + name + text[header.end(1) :])


def _line(text: str, position: int) -> int:
    return text.count("\n", 0, position) + 1


def _refused(why: str) -> PiimageError:
    return PiimageError("oci.apparmor", why)
