"""An image as a SIF, the one file that Apptainer and SingularityCE run.

They read the program and the environment from ``/.singularity.d`` in the root file system. Sources:
Apptainer's user guide, "The Singularity Definition File" and "Build Environment"; the folder in an
image that SingularityCE makes of a container.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final

from piimage.card.ids import unique_id
from piimage.card.squashfs import Compression, write_squashfs
from piimage.durable import PUBLIC, beside
from piimage.formats.flat import flat_image
from piimage.formats.sif import DataType, Document, write
from piimage.jsons import json_bytes
from piimage.oci.layout import Image, Layout
from piimage.oci.models import Execution, canonical_json, decode_json
from piimage.steps import Job
from piimage.trees import Entry, file, folder, symlink, tar_chunks

_OWN: Final = ".singularity.d"
_EXECUTABLE: Final = 0o111
_PROGRAM: Final = 0o755
_ACTIONS: Final[Mapping[str, str]] = {
    "exec": 'exec "$@"',
    "run": f'exec /{_OWN}/runscript "$@"',
    "shell": 'exec /bin/sh "$@"',
    "start": f'exec /{_OWN}/startscript "$@"',
}
_WITH_VARIABLES: Final = f'for file in /{_OWN}/env/*.sh; do . "$file"; done'


def write_sif(image: Image, name: str, bill: bytes, layout: Layout, job: Job, target: Path) -> None:
    """Write the arm64 `image` of the container `name`, with its SPDX `bill`, to `target`.

    The bytes depend on these alone. The steps of `piimage.formats.flat.scans` are made in `job`.
    The file can be executed where Apptainer is installed.
    """
    config = decode_json(layout.document(image.manifest.config), name).get("config", {})
    documents = [
        Document(DataType.DEFINITION, "piimage.def", _definition(name, image)),
        Document(DataType.LABELS, "labels.json", _labels(image.config.execution)),
        Document(DataType.JSON, "oci-config.json", canonical_json(config)),
        Document(DataType.BILL, f"{name}.spdx.json", bill),
    ]
    identity = unique_id(image.descriptor.digest, "sif")
    with job.store.scratch() as scratch, beside(target, PUBLIC | _EXECUTABLE) as draft:
        squashfs = scratch / "rootfs.squashfs"
        chunks = tar_chunks(_with_own(image, job))
        write_squashfs(job.runner, chunks, squashfs, Compression())
        with draft.open("wb") as out:
            write(out, squashfs, documents, identity)


def has_shell(image: Image, job: Job) -> bool:
    """Tell whether the image has ``/bin/sh``, without which Apptainer can `exec` but not `run`."""
    return any(entry.path in ("bin/sh", "usr/bin/sh") for entry in flat_image(image, job))


def _with_own(image: Image, job: Job) -> Iterator[Entry]:
    """Give the image's tree without another ``/.singularity.d``, then ours, and mount points."""
    own = {entry.path for entry in _own(image.config.execution)}
    present = set()
    for entry in flat_image(image, job):
        if entry.path not in own and not entry.path.startswith(f"{_OWN}/"):
            present.add(entry.path)
            yield entry
    yield from _own(image.config.execution)
    yield from (entry for entry in _mount_points() if entry.path not in present)


def _mount_points() -> Iterator[Entry]:
    """Give what Apptainer mounts over; it cannot make a place in a read-only file system.

    It adds its caller to the two files with names before it mounts its copies.
    """
    for path in ("dev", "etc", "home", "proc", "root", "sys", "tmp", "var", "var/tmp"):
        yield folder(path)
    for name in ("hosts", "resolv.conf"):
        yield file(f"etc/{name}", b"")
    yield file("etc/passwd", b"root:x:0:0:root:/root:/bin/sh\n")
    yield file("etc/group", b"root:x:0:\n")


def _own(execution: Execution) -> Iterator[Entry]:
    yield folder(_OWN)
    for name in ("actions", "env", "libs"):
        yield folder(f"{_OWN}/{name}")
    for name, line in _ACTIONS.items():
        yield _script(f"actions/{name}", _WITH_VARIABLES, line)
    # `apptainer inspect --environment` shows files of its own names alone.
    yield _script("env/10-docker2singularity.sh", *map(_exported, execution.env or ()))
    yield _script("env/90-environment.sh")
    yield _script("runscript", *_program(execution))
    yield _script("startscript", f'exec /{_OWN}/runscript "$@"')
    yield file(f"{_OWN}/labels.json", _labels(execution))
    yield symlink("singularity", f"{_OWN}/runscript")
    yield symlink("environment", f"{_OWN}/env/90-environment.sh")


def _script(name: str, *lines: str) -> Entry:
    return file(f"{_OWN}/{name}", "\n".join(["#!/bin/sh", *lines, ""]).encode(), _PROGRAM)


def _exported(variable: str) -> str:
    """Return the line that sets ``NAME=VALUE``, unless the caller's environment has the name."""
    name, _, value = variable.partition("=")
    if name == "PATH":
        return f"export PATH={shlex.quote(value)}"
    return f'export {name}="${{{name}:-{_quoted(value)}}}"'


def _quoted(value: str) -> str:
    """Return `value` for the inside of double quotes and of ``${NAME:-…}``."""
    return "".join(f"\\{mark}" if mark in '\\"$`}' else mark for mark in value)


def _program(execution: Execution) -> Sequence[str]:
    """Return the lines that start the image's program, as Docker combines its two parts."""
    entrypoint, command = execution.entrypoint or (), execution.cmd or ()
    if not entrypoint and not command:
        return ("[ $# -gt 0 ] || set -- /bin/sh", 'exec "$@"')
    default = f"set -- {shlex.join(command)}"
    lines = [f"[ $# -gt 0 ] || {default}"] if command else []
    return (*lines, f'exec {shlex.join(entrypoint)} "$@"'.replace("exec  ", "exec "))


def _definition(name: str, image: Image) -> bytes:
    return f"Bootstrap: docker\nFrom: {name}@{image.descriptor.digest}\n".encode()


def _labels(execution: Execution) -> bytes:
    return json_bytes(dict(sorted((execution.labels or {}).items())))
