"""What keeps a container from starting although each of its fields is right by itself.

`check` and `build` ask here, so that what passes starts. Sources: runc 1.1,
libcontainer/configs/validate/validator.go and specconv/spec_linux.go; user_namespaces(7).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from piimage.config.container import ContainerConfig, merge, secure_defaults
from piimage.config.load import load_folder
from piimage.config.models import Appliance, Entry
from piimage.config.paths import APPLIANCE_PATHS, SECTIONS
from piimage.config.values import quoted
from piimage.container.mounts import has_user_namespace, shares
from piimage.container.profile import read_profile
from piimage.document.document import Document, read_document, with_paths
from piimage.errors import InputError, PiimageError, raise_all

_OWN_NAMESPACE: Final = "services.linuxkit"
_OWN_GROUPS: Final = frozenset({"onboot", "onshutdown", "services", "user"})
_IPC_NAMES: Final = "msgmax msgmnb msgmni sem shmall shmmax shmmni shm_rmid_forced"
_OF_IPC: Final = frozenset(f"kernel.{name}" for name in _IPC_NAMES.split())
_MOST_RANGES: Final = 340  # user_namespaces(7)
_ALL_IDS: Final = 2**32 - 1


@dataclass(frozen=True)
class Fault:
    """What would keep a container from starting; `keys` lead to what asks for it."""

    code: str
    keys: tuple[str | int, ...]
    what: str
    instead: str

    def error(self, place: str) -> InputError:
        """Return the error, with the place of what asks for it."""
        return InputError(self.code, self.what, place=place, hint=f"instead: {self.instead}")


def refuse_unstartable(
    files: Sequence[Path], sets: Sequence[str], environment: Mapping[str, str], appliance: Appliance
) -> None:
    """Raise InputError or ErrorGroup for each container of `appliance` that would not start.

    `files`, `sets` and `environment` are what it was read from, and give the places. What an
    image's label says is not known here, nor which users an image has.
    """
    document = with_paths(read_document(files, sets, environment)[0], APPLIANCE_PATHS)
    raise_all(
        fault.error(str(_place(document, (section, number, *fault.keys))))
        for section in SECTIONS
        for number, entry in enumerate(getattr(appliance, section))
        for fault in _of_entry(entry)
    )


def _place(document: Document, path: Sequence[str | int]) -> object:
    """Return where the file says it, or the entry itself for what a container folder says."""
    entry = document.find(path[:2])
    found = document.find(path)
    return entry.at if found is entry else found.at


def _of_entry(entry: Entry) -> Iterator[Fault]:
    config = merge(secure_defaults(), _folders_own(entry), entry)
    yield from faults(config)
    if config.seccomp not in (None, "default", "unconfined"):
        yield from _profile_faults(str(config.seccomp))


def _folders_own(entry: Entry) -> ContainerConfig | None:
    folder = entry.folder
    if folder is None or not (folder / "service.yml").is_file():
        return None
    return load_folder(folder).container


def _profile_faults(file: str) -> Iterator[Fault]:
    try:
        read_profile(Path(file).read_bytes(), file)
    except OSError:
        return  # what is not there is told where the file is read
    except PiimageError as error:
        yield Fault("oci.seccomp", ("seccomp",), f"it is not a seccomp profile: {error.message}",
                    "the `linux.seccomp` object of the OCI runtime specification")  # fmt: skip


def faults(config: ContainerConfig) -> Iterator[Fault]:
    """Give what the runtime would refuse of a merged configuration."""
    yield from _hostname_faults(config)
    yield from _user_namespace_faults(config)
    yield from _sysctl_faults(config)
    group = (config.cgroups_path or "").strip("/").partition("/")[0]
    if group in _OWN_GROUPS:
        yield Fault(
            "oci.unsupported",
            ("cgroupsPath",),
            f"the control group {quoted(config.cgroups_path)} is piimage's own",
            f"another name than {', '.join(sorted(_OWN_GROUPS))}",
        )
    runtime = config.runtime
    if runtime is not None and runtime.namespace not in (None, _OWN_NAMESPACE):
        yield Fault(
            "oci.unsupported",
            ("runtime", "namespace"),
            f"containerd's namespace {runtime.namespace} is not used here",
            f"leave it out: every service runs in {_OWN_NAMESPACE}",
        )


def _hostname_faults(config: ContainerConfig) -> Iterator[Fault]:
    uts = config.uts or ("new" if config.hostname else "host")
    if config.hostname and shares(uts, "host"):
        yield Fault(
            "oci.hostname",
            ("hostname",),
            f"a container would name the whole Pi {config.hostname!r}",
            "`uts: new` with `hostname:`, or name the Pi by the file's own `hostname:`",
        )


def _user_namespace_faults(config: ContainerConfig) -> Iterator[Fault]:
    mappings = (("uidMappings", config.uid_mappings), ("gidMappings", config.gid_mappings))
    example = "[{containerID: 0, hostID: 100000, size: 65536}]"
    if not has_user_namespace(config):
        for key, given in mappings:
            if given:
                yield Fault("oci.userns", (key,), f"{key} without a user namespace",
                            "userns: new, or leave it out")  # fmt: skip
        return
    if (config.userns or "new") not in ("new", "root"):
        return  # somebody else's, with mappings of its own
    for key, given in mappings:
        if not given:
            yield Fault("oci.userns", ("userns",), f"the user namespace has no {key}",
                        f"both uidMappings and gidMappings, such as {example}")  # fmt: skip
        elif why := _wrong_ranges(given):
            yield Fault("oci.userns", (key,), why, f"ranges such as {example}")
    yield from _unmapped(config)


def _wrong_ranges(given: Sequence[Any]) -> str | None:
    """Return what the kernel, or runc, has against these ranges of ids."""
    if len(given) > _MOST_RANGES:
        return f"{len(given)} ranges are more than the kernel takes"
    if not any(one.container_id == 0 for one in given):
        return "the container's root (containerID 0) is not mapped"
    for side in ("container_id", "host_id"):
        ranges = sorted((getattr(one, side), one.size) for one in given)
        if any(first + size > _ALL_IDS for first, size in ranges):
            return "a range goes beyond the last id"
        starts = [first for first, _ in ranges[1:]]
        if any(first + size > next_ for (first, size), next_ in zip(ranges, starts, strict=False)):
            return "two ranges overlap"
    return None


def _unmapped(config: ContainerConfig) -> Iterator[Fault]:
    """Give the ids that the container's program would have and that are in no range."""
    asked = [
        (("uid",), config.uid, config.uid_mappings),
        (("gid",), config.gid, config.gid_mappings),
        *((("additionalGids", at), one, config.gid_mappings)
          for at, one in enumerate(config.additional_gids or ())),
    ]  # fmt: skip
    user, _, group = (config.user or "").partition(":")
    for text, given in ((user, config.uid_mappings), (group, config.gid_mappings)):
        asked += [(("user",), int(text), given)] if text.isdecimal() else []
    for keys, value, given in asked:
        if isinstance(value, int) and given and not _holds(given, value):
            yield Fault("oci.userns", keys, f"the id {value} is not mapped",
                        "an id within uidMappings or gidMappings")  # fmt: skip


def _holds(given: Sequence[Any], value: int) -> bool:
    return any(one.container_id <= value < one.container_id + one.size for one in given)


def _sysctl_faults(config: ContainerConfig) -> Iterator[Fault]:
    net = not shares("new" if config.net == "none" else config.net, "host")
    ipc = not shares(config.ipc, "host")
    uts = not shares(config.uts, "new" if config.hostname else "host")
    for key in config.sysctl or {}:
        name = _dotted(key)
        if name.startswith("net."):
            good, instead = net, "net: new beside it, or the file's own sysctl: for the whole Pi"
        elif name in _OF_IPC or name.startswith("fs.mqueue."):
            good, instead = ipc, "ipc: new beside it, or the file's own sysctl: for the whole Pi"
        elif name == "kernel.domainname":
            good, instead = uts, "uts: new beside it"
        else:
            good, instead = False, "the file's own sysctl:, which is for the whole Pi"
        if not good:
            yield Fault(
                "oci.sysctl", ("sysctl", key), f"{quoted(key)} is not the container's own", instead
            )


def _dotted(key: str) -> str:
    """Return a key that has slashes with dots, and the other way round (sysctl.d(5))."""
    first = next((char for char in key if char in "./"), ".")
    return key if first == "." else key.translate(str.maketrans("./", "/."))
