"""A container's mounts and devices, with LinuxKit's meanings and defaults.

Source: LinuxKit, docs/yaml.md ("Image specification").
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final

from piimage.config.container import ContainerConfig, Device
from piimage.config.runtime import Mount
from piimage.container.capabilities import administers

_POINTS: Final = {
    "proc": "/proc",
    "devpts": "/dev/pts",
    "sysfs": "/sys",
    "cgroup": "/sys/fs/cgroup",
    "cgroup2": "/sys/fs/cgroup",
    "mqueue": "/dev/mqueue",
}
_BIND_DEFAULT: Final = ("rw", "rbind", "rshared")
_BLOCK_NAMES: Final = re.compile(r"/dev/(mmcblk|sd[a-z]|vd[a-z]|nvme|loop|ram|zram|dm-|md|mapper/)")
DEVICE_FOLDER: Final = "/dev/piimage"
"""Where the device nodes of containers are made on the Pi, with their users' ownership."""


@dataclass(frozen=True)
class FoundDevice:
    """A device node of which only the path is known: its numbers are read on the Pi."""

    path: str
    type: str
    mode: str
    node: str
    """The copy that the container's user owns, made before each start."""


def default_mounts(config: ContainerConfig) -> list[dict[str, Any]]:
    """Return what every container has mounted: LinuxKit's list, which has no /dev/shm.

    Without CAP_SYS_ADMIN /sys is read-only even where the root is writable: what lies there asks
    for the user id alone, and belongs to the whole Pi.

    In a user namespace that shares the host's network or processes, the kernel refuses a new sysfs
    or proc (they would show more than the namespace owns), so those of the host are bound.
    """
    only = ["ro"] if config.readonly else []
    sys_options = ["nosuid", "noexec", "nodev", *(only if administers(config) else ["ro"])]
    proc = _mount("/proc", "proc", "proc", ["nosuid", "nodev", "noexec", "relatime"])
    sysfs = _mount("/sys", "sysfs", "sysfs", sys_options)
    if has_user_namespace(config):
        if shares(config.net, "host"):
            sysfs = _mount("/sys", "bind", "/sys", _recursive(sys_options))
        if shares(config.pid, "new"):
            proc = _mount("/proc", "bind", "/proc", ["rbind", "nosuid", "nodev", "noexec"])
    dev = ["nosuid", "strictatime", "mode=755", "size=65536k", *only]
    pts = ["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620"]
    groups = ["nosuid", "noexec", "nodev", "relatime", "ro"]
    return [
        proc,
        sysfs,
        _mount("/dev", "tmpfs", "tmpfs", dev),
        _mount("/dev/pts", "devpts", "devpts", pts),
        _mount("/sys/fs/cgroup", "cgroup", "cgroup", groups),
    ]


def _recursive(options: Sequence[str]) -> list[str]:
    """Return the options of a bind with all that is mounted below: `ro` alone would spare that.

    Source: mount_setattr(2), AT_RECURSIVE; runc calls it ``rro``.
    """
    return ["rbind", *("rro" if option == "ro" else option for option in options)]


def has_user_namespace(config: ContainerConfig) -> bool:
    """Say whether the container gets a user namespace; mappings ask for one by themselves."""
    mapped = config.uid_mappings or config.gid_mappings
    return not shares(config.userns, "new" if mapped else "host")


def shares(namespace: str | None, default: str) -> bool:
    """Say whether a namespace is the host's; `default` holds where nothing is said."""
    return (namespace or default) in ("host", "root")


def all_mounts(config: ContainerConfig, devices: Iterable[FoundDevice]) -> list[dict[str, Any]]:
    """Return the mounts in the order of their destinations, so that parents come first.

    Of two with one destination the later kind wins: defaults, tmpfs, binds, mounts, devices.
    """
    by_destination = {mount["destination"]: mount for mount in default_mounts(config)}
    extra = [
        *(_tmpfs(text) for text in config.tmpfs or ()),
        *(_bind(text) for text in config.binds or ()),
        *(complete_mount(mount) for mount in config.mounts or ()),
        *(_mount(one.path, "bind", one.node, ["bind", "rw"]) for one in devices),
    ]
    by_destination |= {mount["destination"]: mount for mount in extra}
    return [by_destination[destination] for destination in sorted(by_destination)]


def complete_mount(mount: Mount) -> dict[str, Any]:
    """Return `mount` with what LinuxKit fills in: type from source, both from each other."""
    source = mount.source or ""
    kind = mount.type or (source if source in _POINTS else "")
    if not kind and mount.destination == "/dev":
        kind = "tmpfs"
    return _mount(mount.destination or _POINTS[kind], kind, source or kind, list(mount.options))


def _tmpfs(text: str) -> dict[str, Any]:
    destination, colon, options = text.partition(":")
    return _mount(destination, "tmpfs", "tmpfs", options.split(",") if colon else [])


def _bind(text: str) -> dict[str, Any]:
    source, destination, *options = text.split(":")
    chosen = [*options[0].split(","), "rbind"] if options else list(_BIND_DEFAULT)
    return _mount(destination, "bind", source, list(dict.fromkeys(chosen)))


def _mount(destination: str, kind: str, source: str, options: Sequence[str]) -> dict[str, Any]:
    mount: dict[str, Any] = {"destination": destination, "type": kind, "source": source}
    return mount | {"options": list(options)} if options else mount


def found_devices(config: ContainerConfig, container: str) -> tuple[FoundDevice, ...]:
    """Return the devices that are looked up on the Pi before each start of `container`."""
    return tuple(
        FoundDevice(
            device.path,
            _type(device),
            _octal(device),
            f"{DEVICE_FOLDER}/{container}/{device.path.removeprefix('/dev/').replace('/', '!')}",
        )
        for device in config.devices or ()
        if device.path != "all" and device.major is None
    )


def made_devices(config: ContainerConfig, uid: int, gid: int) -> list[dict[str, Any]]:
    """Return the device nodes whose numbers are given, which runc makes."""
    return [
        {
            "path": device.path,
            "type": _type(device),
            "major": device.major,
            "minor": device.minor,
            "fileMode": int(_octal(device), 8),
            "uid": uid,
            "gid": gid,
        }
        for device in config.devices or ()
        if device.path != "all" and device.major is not None
    ]


def _type(device: Device) -> str:
    """Return block or character: as it is said, else as the kernel's usual names tell."""
    return device.type or ("b" if _BLOCK_NAMES.match(device.path) else "c")


def _octal(device: Device) -> str:
    return device.mode if device.mode and device.mode.isdecimal() else "0600"


def device_rules(config: ContainerConfig) -> list[dict[str, Any]]:
    """Return the device cgroup's rules: nothing, then what is asked for.

    A device that is looked up on the Pi has no numbers here: its rule is added on the Pi before
    each start (`grant_device` in container.sh), behind the first one.
    """
    rules: list[dict[str, Any]] = [{"allow": False, "access": "rwm"}]
    rules += [_rule(device) for device in config.devices or () if device.path == "all"]
    rules += [
        {"allow": True, "type": _type(device), "major": device.major, "minor": device.minor,
         "access": "rwm"}
        for device in config.devices or ()
        if device.path != "all" and device.major is not None
    ]  # fmt: skip
    return rules


def _rule(device: Device) -> dict[str, Any]:
    """Return the rule for ``path: all``; a number of -1, or none, is any number."""
    access = device.mode if device.mode and device.mode.isalpha() else "rwm"
    rule: dict[str, Any] = {"allow": True, "type": device.type or "a", "access": access}
    for name, number in (("major", device.major), ("minor", device.minor)):
        if number is not None and number >= 0:
            rule[name] = number
    return rule
