"""A container's mounts and devices, with LinuxKit's meanings and defaults.

Source: LinuxKit, docs/yaml.md ("Image specification").
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final

from piimage.config.container import ContainerConfig
from piimage.config.device import Device
from piimage.config.disks import MEDIA
from piimage.config.runtime import Mount
from piimage.config.secret import SECRETS_FOLDER
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
_SHARED: Final = ("rshared", "shared", "rprivate", "private", "slave")
_SHM: Final = "/dev/shm"  # noqa: S108  # in the container
# A tmpfs holds no device and no set-user-ID program, unless the file says `dev` or `suid`.
_TMPFS_DEFAULT: Final = ("nosuid", "nodev")
_TMP_MODE: Final = "mode=1777"
_BLOCK_NAMES: Final = re.compile(r"/dev/(mmcblk|sd[a-z]|vd[a-z]|nvme|loop|ram|zram|dm-|md|mapper/)")
CONTROL_FOLDER: Final = "/run/control"
"""Where a container with `control: true` has the folder of its runner, with the pipe `events`."""
DEVICE_FOLDER: Final = "/dev/piimage"
"""The folder on the Pi for containers' device nodes, which belong to the containers' users."""


@dataclass(frozen=True)
class FoundDevice:
    """A device of which the file has the path only: the Pi looks up its numbers."""

    path: str
    type: str
    mode: str
    node: str
    """The path of the copy that belongs to the container's user, made before each start."""


def default_mounts(config: ContainerConfig) -> list[dict[str, Any]]:
    """Return the mounts of every container: LinuxKit's list, and engines' /dev/shm of 64 MiB.

    Without CAP_SYS_ADMIN, /sys is read-only even if the root is writable: its files check the user
    id only, and concern the whole Pi.

    In a user namespace that shares the host's network or processes, the kernel refuses to mount a
    new sysfs or proc, which would show more than the namespace owns: the host's are bound instead.
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
    shm = [*_TMPFS_DEFAULT, "noexec", "mode=1777", "size=65536k"]
    pts = ["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620"]
    groups = ["nosuid", "noexec", "nodev", "relatime", "ro"]
    return [
        proc,
        sysfs,
        _mount("/dev", "tmpfs", "tmpfs", dev),
        _mount("/dev/pts", "devpts", "devpts", pts),
        _mount(_SHM, "tmpfs", "shm", shm),
        _mount("/sys/fs/cgroup", "cgroup", "cgroup", groups),
    ]


def _recursive(options: Sequence[str]) -> list[str]:
    """Return the options of a recursive bind; `ro` would not apply to the mounts inside it.

    Source: mount_setattr(2), AT_RECURSIVE; runc calls the option ``rro``.
    """
    return ["rbind", *("rro" if option == "ro" else option for option in options)]


def has_user_namespace(config: ContainerConfig) -> bool:
    """Tell whether the container gets a user namespace; mappings imply one."""
    mapped = config.uid_mappings or config.gid_mappings
    return not shares(config.userns, "new" if mapped else "host")


def shares(namespace: str | None, default: str) -> bool:
    """Tell whether `namespace`, or else `default`, means the host's."""
    return (namespace or default) in ("host", "root")


def all_mounts(
    config: ContainerConfig, devices: Iterable[FoundDevice], name: str, folder: str
) -> list[dict[str, Any]]:
    """Return the mounts of the container `name`, sorted by destination, so that parents come first.

    Of mounts with the same destination, the last kind counts: defaults, tmpfs, binds, mounts,
    devices, the folder of a container with `control: true`, and that of its secrets. `folder` is
    KIND/FOLDER, by which the Pi names what belongs to the container.
    """
    by_destination = {mount["destination"]: mount for mount in default_mounts(config)}
    extra = [
        *(_tmpfs(text) for text in config.tmpfs or ()),
        *(_bind(text) for text in config.binds or ()),
        *(complete_mount(mount) for mount in config.mounts or ()),
        *(_mount(device.path, "bind", device.node, ["bind", "rw"]) for device in devices),
        *([_control(name)] if config.control else []),
        *([_secrets(folder)] if config.secrets else []),
    ]
    own = {mount["destination"]: mount for mount in extra}
    if "/dev" in own and _SHM not in own:
        del by_destination[_SHM]  # the container's own /dev may be the Pi's
    by_destination |= own
    return [by_destination[destination] for destination in sorted(by_destination)]


def complete_mount(mount: Mount) -> dict[str, Any]:
    """Return `mount` with what LinuxKit derives: type, source or destination from another."""
    source = mount.source or ""
    kind = mount.type or (source if source in _POINTS else "")
    if not kind and mount.destination == "/dev":
        kind = "tmpfs"
    options = list(mount.options)
    destination = mount.destination or _POINTS[kind]
    if kind == "tmpfs" and destination != "/dev":
        options = _closed(options)
    return _mount(destination, kind, source or kind, options)


def _control(name: str) -> dict[str, Any]:
    """Return the mount of the folder that the service's runner keeps, with its pipe.

    It is read-only, which concerns no pipe: pipe(7) data go past the file system.
    """
    folder = f"/run/piimage/services/{name}"
    return _mount(CONTROL_FOLDER, "bind", folder, ["bind", "ro", "nosuid", "nodev", "noexec"])


def _secrets(folder: str) -> dict[str, Any]:
    """Return the mount of the folder in memory to which the Pi copies the container's secrets."""
    source = f"/run/piimage/secrets/{folder}"
    return _mount(SECRETS_FOLDER, "bind", source, ["bind", "ro", "nosuid", "nodev", "noexec"])


def _tmpfs(text: str) -> dict[str, Any]:
    destination, colon, options = text.partition(":")
    own = options.split(",") if colon else []
    chosen = own if destination == "/dev" else _closed(_writable(own))
    return _mount(destination, "tmpfs", "tmpfs", list(dict.fromkeys(chosen)))


def _writable(own: Sequence[str]) -> list[str]:
    """Return a tmpfs's `own` options with a mode: that of /tmp, as engines mount it.

    Without a mode, runc and crun take that of the folder below. Where an image has no such folder,
    they make one in which the container's user may not write.
    """
    return [*([] if any(option.startswith("mode=") for option in own) else [_TMP_MODE]), *own]


def _closed(own: Sequence[str]) -> list[str]:
    """Return a tmpfs's `own` options and those of the default that it does not take back.

    An option and its opposite may not both be there: runc takes the last one, crun the strict one.
    """
    default = [option for option in _TMPFS_DEFAULT if option.removeprefix("no") not in own]
    return list(dict.fromkeys([*default, *own]))


def _bind(text: str) -> dict[str, Any]:
    source, destination, *options = text.split(":")
    chosen = [*options[0].split(","), "rbind"] if options else list(_BIND_DEFAULT)
    if _is_of_disks(source):  # the container sees a disk that is plugged in later
        chosen = [*(option for option in chosen if option not in _SHARED), "rslave"]
    return _mount(destination, "bind", source, list(dict.fromkeys(chosen)))


def binds_disks(config: ContainerConfig) -> bool:
    """Tell whether the container binds a disk: then mounts on the Pi have to reach it later."""
    return any(_is_of_disks(text.partition(":")[0]) for text in config.binds or ())


def _is_of_disks(source: str) -> bool:
    return f"{source}/".startswith(f"{MEDIA}/")


def _mount(destination: str, kind: str, source: str, options: Sequence[str]) -> dict[str, Any]:
    mount: dict[str, Any] = {"destination": destination, "type": kind, "source": source}
    return mount | {"options": list(options)} if options else mount


def found_devices(config: ContainerConfig, container: str) -> tuple[FoundDevice, ...]:
    """Return the devices of `container` whose numbers the Pi looks up before each start."""
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
    """Return the device nodes with given numbers, which runc creates."""
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
    """Return the type of a device node, by its name if the file has no `type:`."""
    return device.type or ("b" if _BLOCK_NAMES.match(device.path) else "c")


def _octal(device: Device) -> str:
    return device.mode or "0600"


def device_rules(config: ContainerConfig) -> list[dict[str, Any]]:
    """Return the rules of the device cgroup: first one that denies all, then the exceptions.

    The numbers of a `FoundDevice` are not known here: the Pi inserts its rule after the first one
    before each start (`grant_device` in container.sh).
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
    """Return the rule for ``path: all``; -1 or no number means any number."""
    access = device.mode if device.mode and device.mode.isalpha() else "rwm"
    rule: dict[str, Any] = {"allow": True, "type": device.type or "a", "access": access}
    for name, number in (("major", device.major), ("minor", device.minor)):
        if number is not None and number >= 0:
            rule[name] = number
    return rule
