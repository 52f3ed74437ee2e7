"""Faults that keep a container from starting although each of its fields is valid.

`check` and `build` report them, instead of the Pi. Sources: runc 1.1,
libcontainer/configs/validate/validator.go and specconv/spec_linux.go; user_namespaces(7).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final

from piimage.config.container import PROFILE_WORDS, ContainerConfig
from piimage.config.device import IdMapping
from piimage.config.models import Appliance
from piimage.config.paths import APPLIANCE_PATHS, SECTIONS
from piimage.config.secret import SECRETS_FOLDER
from piimage.config.values import quoted
from piimage.container.apparmor import own_profile
from piimage.container.bridge import is_bridged
from piimage.container.bridge_faults import bridge_faults
from piimage.container.docker_faults import docker_faults
from piimage.container.fault import Fault
from piimage.container.ids import AUTO, range_faults, with_range
from piimage.container.merged import Placed, merged
from piimage.container.mounts import has_user_namespace, shares
from piimage.container.profile import read_profile
from piimage.document.document import Document, read_document, with_paths
from piimage.errors import PiimageError, raise_all

_OWN_NAMESPACE: Final = "services.linuxkit"
_OWN_GROUPS: Final = frozenset({"onboot", "onshutdown", "services", "user"})
_IPC_NAMES: Final = "msgmax msgmnb msgmni sem shmall shmmax shmmni shm_rmid_forced"
_OF_IPC: Final = frozenset(f"kernel.{name}" for name in _IPC_NAMES.split())
_MOST_RANGES: Final = 340  # user_namespaces(7)
_ALL_IDS: Final = 2**32 - 1


def refuse_unstartable(
    files: Sequence[Path], sets: Sequence[str], environment: Mapping[str, str], appliance: Appliance
) -> None:
    """Raise InputError or ErrorGroup for the containers of `appliance` that would not start.

    `files`, `sets` and `environment` are the sources of `appliance`, for the places of the errors.
    Labels and users of images are not known here.
    """
    document = with_paths(read_document(files, sets, environment)[0], APPLIANCE_PATHS)
    containers = [
        Placed(section, number, entry.name, merged(entry), entry.use)
        for section in SECTIONS
        for number, entry in enumerate(getattr(appliance, section))
    ]
    found = [
        (each, fault)
        for each in containers
        for fault in _of_container(with_range(each.config, each.name))
    ]
    found += [*range_faults(containers), *bridge_faults(containers, appliance)]
    found += docker_faults(containers, appliance)
    raise_all(
        fault.error(str(_place(document, (each.section, each.number, *fault.keys))))
        for each, fault in found
    )


def _place(document: Document, path: Sequence[str | int]) -> object:
    """Return the position of `path`, or that of the entry if a container folder has the setting."""
    entry = document.find(path[:2])
    node = document.find(path)
    return entry.at if node is entry else node.at


def _of_container(config: ContainerConfig) -> Iterator[Fault]:
    yield from faults(config)
    if config.seccomp not in PROFILE_WORDS:
        yield from _profile_faults(str(config.seccomp))
    if config.apparmor not in PROFILE_WORDS:
        yield from _apparmor_faults(str(config.apparmor))


def _profile_faults(file: str) -> Iterator[Fault]:
    try:
        read_profile(Path(file).read_bytes(), file)
    except OSError:
        return  # a missing file is reported where it is read
    except PiimageError as error:
        yield Fault("oci.seccomp", ("seccomp",), f"it is not a seccomp profile: {error.message}",
                    "the `linux.seccomp` object of the OCI runtime specification")  # fmt: skip


def _apparmor_faults(file: str) -> Iterator[Fault]:
    try:
        own_profile(Path(file).read_bytes())
    except OSError:
        return  # a missing file is reported where it is read
    except PiimageError as error:
        message = f"it is not an AppArmor profile that piimage takes: {error.message}"
        instead = "one profile, as apparmor.d(5) describes it"
        yield Fault("oci.apparmor", ("apparmor",), message, instead)


def faults(config: ContainerConfig) -> Iterator[Fault]:
    """Yield the settings of a merged configuration that the runtime would refuse."""
    yield from _hostname_faults(config)
    yield from _user_namespace_faults(config)
    yield from _sysctl_faults(config)
    yield from _secret_faults(config)
    if config.ports and not is_bridged(config):
        yield Fault(
            "oci.ports", ("ports",), f"ports with net: {config.net or 'host'}",
            "net: bridge beside ports, or no ports: a container with net: host has those of the Pi",
        )  # fmt: skip
    group = (config.cgroups_path or "").strip("/").partition("/")[0]
    if group in _OWN_GROUPS:
        yield Fault(
            "oci.unsupported",
            ("cgroupsPath",),
            f"the control group {quoted(config.cgroups_path)} is reserved for piimage",
            f"another name than {', '.join(sorted(_OWN_GROUPS))}",
        )
    runtime = config.runtime
    if runtime is not None and runtime.namespace not in (None, _OWN_NAMESPACE):
        yield Fault(
            "oci.unsupported",
            ("runtime", "namespace"),
            f"containerd's namespace {runtime.namespace} is not supported",
            f"leave it out: every service runs in {_OWN_NAMESPACE}",
        )


def _secret_faults(config: ContainerConfig) -> Iterator[Fault]:
    """Yield the mounts that would cover the secrets, or put their folder on the Pi."""
    if not config.secrets:
        return
    places = [
        *((("tmpfs", number), text.split(":")[0], False)
          for number, text in enumerate(config.tmpfs or ())),
        *((("binds", number), text.split(":")[1], True)
          for number, text in enumerate(config.binds or ())),
        *((("mounts", number), mount.destination or "", mount.type == "bind")
          for number, mount in enumerate(config.mounts or ())),
    ]  # fmt: skip
    for keys, path, bound in places:
        covers = f"{path.rstrip('/')}/".startswith(f"{SECRETS_FOLDER}/")
        if covers or (bound and path.rstrip("/") in ("", "/run")):
            yield Fault(
                "oci.unsupported", keys, f"{quoted(path)} is where the secrets go, or above it",
                f"another place than {SECRETS_FOLDER}, or no secrets:",
            )  # fmt: skip


def _hostname_faults(config: ContainerConfig) -> Iterator[Fault]:
    uts = config.uts or ("new" if config.hostname else "host")
    if config.hostname and shares(uts, "host"):
        yield Fault(
            "oci.hostname",
            ("hostname",),
            f"the container would set the host name of the whole Pi to {config.hostname!r}",
            "`uts: new` with `hostname:`, or the file's own `hostname:` for the Pi",
        )


def _user_namespace_faults(config: ContainerConfig) -> Iterator[Fault]:
    mappings = (("uidMappings", config.uid_mappings), ("gidMappings", config.gid_mappings))
    example = "[{containerID: 0, hostID: 100000, size: 65536}]"
    if not has_user_namespace(config):
        for key, ranges in mappings:
            if ranges:
                yield Fault("oci.userns", (key,), f"{key} without a user namespace",
                            f"userns: new, or no {key}")  # fmt: skip
        return
    if config.userns == AUTO:
        yield Fault("oci.userns", ("userns",), "userns: auto beside mappings of one's own",
                    "userns: new, or no uidMappings and gidMappings")  # fmt: skip
        return
    if (config.userns or "new") not in ("new", "root"):
        return  # an existing namespace, which has its own mappings
    for key, ranges in mappings:
        if not ranges:
            yield Fault("oci.userns", ("userns",), f"the user namespace has no {key}",
                        f"both uidMappings and gidMappings, such as {example}")  # fmt: skip
        elif message := _invalid_ranges(ranges):
            yield Fault("oci.userns", (key,), message, f"ranges such as {example}")
    yield from _unmapped(config)


def _invalid_ranges(ranges: Sequence[IdMapping]) -> str | None:
    """Return why the kernel, or runc, would refuse these ranges of ids; None if it accepts them."""
    if len(ranges) > _MOST_RANGES:
        return f"{len(ranges)} ranges are more than the kernel allows ({_MOST_RANGES})"
    if not any(mapping.container_id == 0 for mapping in ranges):
        return "the container's root (containerID 0) is not mapped"
    for field in ("container_id", "host_id"):
        spans = sorted((getattr(mapping, field), mapping.size) for mapping in ranges)
        if any(first + size > _ALL_IDS for first, size in spans):
            return "a range exceeds the last id"
        starts = [first for first, _ in spans[1:]]
        if any(first + size > next_ for (first, size), next_ in zip(spans, starts, strict=False)):
            return "two ranges overlap"
    return None


def _unmapped(config: ContainerConfig) -> Iterator[Fault]:
    """Yield the ids of the container's process that are in no range."""
    ids = [
        (("uid",), config.uid, config.uid_mappings),
        (("gid",), config.gid, config.gid_mappings),
        *((("additionalGids", number), gid, config.gid_mappings)
          for number, gid in enumerate(config.additional_gids or ())),
    ]  # fmt: skip
    user, _, group = (config.user or "").partition(":")
    for text, ranges in ((user, config.uid_mappings), (group, config.gid_mappings)):
        ids += [(("user",), int(text), ranges)] if text.isdecimal() else []
    for keys, value, ranges in ids:
        if isinstance(value, int) and ranges and not maps(ranges, value):
            yield Fault("oci.userns", keys, f"the id {value} is not mapped",
                        "an id within uidMappings or gidMappings")  # fmt: skip


def maps(ranges: Sequence[IdMapping], value: int) -> bool:
    """Tell whether the id `value` in a container is one of `ranges`."""
    return any(m.container_id <= value < m.container_id + m.size for m in ranges)


def _sysctl_faults(config: ContainerConfig) -> Iterator[Fault]:
    net = not shares("new" if config.net == "none" else config.net, "host")
    ipc = not shares(config.ipc, "host")
    uts = not shares(config.uts, "new" if config.hostname else "host")
    for key in config.sysctl or {}:
        name = _dotted(key)
        if name.startswith("net."):
            own, instead = net, "net: new with it, or the file's own sysctl:"
        elif name in _OF_IPC or name.startswith("fs.mqueue."):
            own, instead = ipc, "ipc: new with it, or the file's own sysctl:"
        elif name == "kernel.domainname":
            own, instead = uts, "uts: new with it"
        else:
            own, instead = False, "the file's own sysctl:"
        if not own:
            yield Fault(
                "oci.sysctl",
                ("sysctl", key),
                f"{quoted(key)} would apply to the whole Pi",
                instead,
            )


def _dotted(key: str) -> str:
    """Return `key` with dots as separators, for one with slashes as well (sysctl.d(5))."""
    first = next((char for char in key if char in "./"), ".")
    return key if first == "." else key.translate(str.maketrans("./", "/."))
