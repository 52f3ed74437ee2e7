"""A small initramfs: modules, and a script that mounts the host's root as the guest's."""

from __future__ import annotations

import shlex
import stat
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from chipmodels.testing.modules import module_bytes

_FOLDERS = ("dev", "root")
_TRAILER = "TRAILER!!!"


@dataclass(frozen=True)
class File:
    """An entry of the archive."""

    name: str
    mode: int
    data: bytes = b""


def archive(files: Iterable[File]) -> bytes:
    """Return a cpio archive in the format of the kernel.

    Source: Documentation/driver-api/early-userspace/buffer-format.rst of the kernel.
    """
    entries = [*files, File(_TRAILER, 0)]
    return b"".join(_entry(number, file) for number, file in enumerate(entries, 1))


def _entry(number: int, file: File) -> bytes:
    name = file.name.encode() + b"\0"
    owner, links, time, device = (0, 0), 1, 0, (0, 0)
    fields = (
        number,
        file.mode,
        *owner,
        links,
        time,
        len(file.data),
        *device,
        *device,
        len(name),
        0,
    )
    header = b"070701" + b"".join(b"%08x" % field for field in fields)
    return _padded(header + name) + _padded(file.data)


def _padded(data: bytes) -> bytes:
    return data + bytes(-len(data) % 4)


def contents(shell: Path, modules: Iterable[Path], mount: str, init: Path) -> Iterator[File]:
    """Yield the files of an initramfs that loads `modules`, mounts the root and runs `init`.

    `shell` is a static busybox; `mount` has type, options and source of the root. Raises OSError.
    """
    for folder in _FOLDERS:
        yield File(folder, stat.S_IFDIR | 0o755)
    yield File("busybox", stat.S_IFREG | 0o755, shell.read_bytes())
    paths = list(modules)
    names = [f"{number:02}-{path.name.partition('.')[0]}.ko" for number, path in enumerate(paths)]
    for name, path in zip(names, paths, strict=True):
        yield File(name, stat.S_IFREG | 0o644, module_bytes(path))
    script = _SCRIPT.format(
        modules=" ".join(names),
        mount=mount,
        init=shlex.quote(str(init)),
    )
    yield File("init", stat.S_IFREG | 0o755, script.encode())


_SCRIPT = """#!/busybox sh
for module in {modules}; do /busybox insmod /$module; done
/busybox mount {mount} /root
/busybox mount -t devtmpfs dev /root/dev
exec /busybox switch_root /root {init}
"""
