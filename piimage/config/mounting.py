"""Checks of mounts, so that an invalid mount fails in the build and not on the Pi.

Sources: runc 1.1, libcontainer/specconv/spec_linux.go (initMaps: the options that runc handles;
it passes every other option to the file system) and libcontainer/rootfs_linux.go (checkProcMount);
tmpfs(5), proc(5), Linux, Documentation/filesystems/devpts.rst.
"""

import posixpath
import re
from collections.abc import Iterable, Sequence
from typing import Final

from piimage.config.values import did_you_mean, problem, quoted

_PROPAGATION: Final = ("private", "shared", "slave", "unbindable")
_SWITCHES: Final = (
    "atime", "dev", "diratime", "exec", "relatime", "strictatime", "suid", "symfollow",
)  # fmt: skip
_OTHER_FLAGS: Final = """
    async bind dirsync iversion lazytime loud mand noiversion nolazytime nomand rbind
    ro rw rro rrw silent sync tmpcopyup
"""
_FLAGS: Final = frozenset(_OTHER_FLAGS.split()) | {
    *(f"{prefix}{word}" for prefix in ("", "no", "r", "rno") for word in _SWITCHES),
    *(f"{prefix}{word}" for prefix in ("", "r") for word in _PROPAGATION),
}
_NUMBER: Final = "[0-3]?[0-9]{1,9}"
_OCTAL: Final = "[0-7]{1,4}"
_AMOUNT: Final = "[0-9]{1,19}[kKmMgGtTpPeE]?"
_DATA: Final = {
    "bind": {"defaults": ""},  # runc passes it on, and a bind mount ignores it
    "sysfs": {},
    "mqueue": {},
    "tmpfs": {
        "size": f"{_AMOUNT}|[0-9]{{1,3}}%", "nr_blocks": _AMOUNT, "nr_inodes": _AMOUNT,
        "mode": _OCTAL, "uid": _NUMBER, "gid": _NUMBER, "huge": "never|always|within_size|advise",
        "mpol": "default|local|(prefer|bind|interleave):0", "noswap": "", "inode32": "",
        "inode64": "",
    },
    "devpts": {
        "newinstance": "", "ptmxmode": _OCTAL, "mode": _OCTAL, "uid": _NUMBER, "gid": _NUMBER,
        "max": _NUMBER,
    },
    "proc": {
        "hidepid": "[0124]|off|noaccess|invisible|ptraceable", "gid": _NUMBER, "subset": "pid",
    },
}  # fmt: skip
"""The own options of these file systems and their values; other types are not checked."""
_TYPE_NAMES: Final = """
    9p autofs bind binder binfmt_misc bpf btrfs ceph cgroup cgroup2 cifs configfs cramfs debugfs
    devpts devtmpfs ecryptfs efivarfs erofs exfat ext2 ext3 ext4 f2fs fuse fuseblk fusectl gfs2 hfs
    hfsplus hugetlbfs iso9660 jffs2 jfs minix mqueue msdos nfs nfs4 nfsd nilfs2 ntfs ntfs3 ocfs2
    overlay proc pstore ramfs romfs rpc_pipefs securityfs selinuxfs smb3 squashfs sysfs tmpfs
    tracefs ubifs udf ufs vfat virtiofs xfs zonefs
"""
_TYPES: Final = frozenset(_TYPE_NAMES.split())
_SHOWN_IN_PROC: Final = frozenset(
    f"/proc/{name}"
    for name in (
        "cpuinfo", "diskstats", "loadavg", "meminfo", "net/dev", "slabinfo", "stat", "swaps",
        "sys/crypto/fips_enabled", "sys/kernel/ns_last_pid", "uptime",
    )
)  # fmt: skip


def check_mount(kind: str, source: str, destination: str, options: Sequence[str]) -> None:
    """Raise PydanticCustomError for a mount that the runtime or the kernel refuses."""
    if kind not in _TYPES:
        raise problem(f"{quoted(kind)} is not a file system type", did_you_mean(kind, _TYPES))
    binds = kind == "bind" or {"bind", "rbind"} & {*options}
    if binds and not source.startswith("/"):
        raise problem("a bind mount without a source", "source: a path that begins with /")
    if kind == "bind" and not {"bind", "rbind"} & {*options}:
        raise problem("a bind mount without its option", "bind or rbind among the options")
    check_destination("bind" if binds else kind, source, destination)
    check_options("bind" if binds else kind, options)


def check_destination(kind: str, source: str, destination: str) -> None:
    """Raise PydanticCustomError for a place that allows no mount: the root, most of /proc."""
    if "\0" in destination or "\0" in source:
        raise problem(f"{quoted(destination)} has a zero byte", "a path")
    path = posixpath.normpath(f"/{destination.lstrip('/')}")
    if path == "/":
        raise problem("a mount over the root of the container", "a folder below /")
    if path == "/proc" and kind != "proc" and (kind, source.rstrip("/")) != ("bind", "/proc"):
        raise problem("only proc can be mounted at /proc", "type: proc, or a bind of /proc")
    if path in ("/sys", "/sys/fs") and not _holds_cgroups(path, kind, source):
        raise problem(
            f"{path} would have no folder for the cgroup mount",
            f"a bind of {path} itself, a tmpfs, or another destination",
        )
    if path.startswith("/proc/") and not (kind == "bind" and path in _SHOWN_IN_PROC):
        raise problem(
            f"nothing can be mounted at {quoted(path)}",
            f"a path outside /proc, or a bind on one of {', '.join(sorted(_SHOWN_IN_PROC))}",
        )


def _holds_cgroups(path: str, kind: str, source: str) -> bool:
    return kind in ("tmpfs", "sysfs" if path == "/sys" else "") or (
        kind == "bind" and source.rstrip("/") == path
    )


def check_options(kind: str, options: Iterable[str]) -> None:
    """Raise PydanticCustomError for an option that a mount of this kind does not have."""
    known = _DATA.get(kind)
    for option in options:
        if option == "remount":
            raise problem("remount is not possible for a new mount", "the other options")
        if option in ("bind", "rbind") and kind != "bind":
            raise problem(f"a {kind} mount cannot have the option {option}", "the other options")
        if option in _FLAGS or option == "" or known is None:
            continue
        name, _, value = option.partition("=")
        if name not in known:
            raise problem(
                f"{quoted(option)} is not an option of a {kind} mount",
                did_you_mean(name, {*_FLAGS, *known}),
            )
        if not re.fullmatch(known[name], value, re.ASCII):
            raise problem(f"{quoted(option)} has an invalid value", f"{name}= as in mount(8)")
