"""Builds in a container of a Docker engine, for hosts that do not allow user namespaces.

The engine may be on another machine: files travel as tar streams, and nothing is mounted. The image
is `Dockerfile.cross` with the same packages, so the outputs have the same bytes.
"""

from __future__ import annotations

import io
import shlex
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, Final, cast

from piimage import resources
from piimage.errors import PiimageError
from piimage.steps import Job
from piimage.toolchain.sandbox import ENVIRONMENT, WORK, failed
from piimage.toolchain.steps import Compiled
from piimage.trees import Entry, Kind, file, folder, read_tar, tar_chunks

if TYPE_CHECKING:
    import docker

_TIMEOUT: Final = 600
_RECIPE: Final = "Dockerfile.cross"


def recipe() -> Path:
    """Return the Dockerfile of the toolchain."""
    return resources.path("kernel-modules").parent / _RECIPE


@dataclass(frozen=True)
class DockerBuild:
    """Builds in containers of the engine at `host` (None: the standard socket)."""

    host: str | None = None

    def build(self, step: Compiled, job: Job) -> Mapping[str, bytes]:
        """Return the outputs of `step`; `job` has the results of the steps that it needs.

        Raises PiimageError ``oci.no-engine``, ``toolchain.engine-failed`` with the engine's
        message, and the errors of `Compiled.make`.
        """
        from docker.errors import DockerException  # noqa: PLC0415  # slow, and only used here

        from piimage.oci.engine import connected  # noqa: PLC0415

        with connected(self.host) as client, job.store.scratch() as scratch:
            work = scratch / "work"
            work.mkdir()
            step.lay_out(job, work)
            try:
                image = _image(client, step, job, scratch)
                out = _run(client, image, step, work, scratch / "out")
            except DockerException as error:
                raise _refused(error) from error
            return dict(step.collect(out))


def _refused(error: Exception) -> PiimageError:
    return PiimageError(
        "toolchain.engine-failed",
        f"the Docker engine failed ({error})",
        hint="see the engine's log, or build with --with bubblewrap",
    )


def _image(client: docker.DockerClient, step: Compiled, job: Job, scratch: Path) -> str:
    """Return the name of the toolchain's image; build the image if the engine does not have it."""
    from docker.errors import ImageNotFound  # noqa: PLC0415

    name = f"piimage-cross:{step.toolchain.key[:16]}"
    try:
        client.images.get(name)
    except ImageNotFound:
        context = scratch / "context"
        context.mkdir()
        shutil.copy(recipe(), context / _RECIPE)
        with (context / "toolchain.tar").open("wb") as target:
            target.writelines(step.toolchain.tar(job.store, job.runner))
        client.images.build(
            path=str(context), dockerfile=_RECIPE, target="locked", tag=name, rm=True
        )
    return name


def _run(client: docker.DockerClient, image: str, step: Compiled, work: Path, out: Path) -> Path:
    """Run the commands of `step` on the files in `work`; return a folder with the result."""
    script = "\n".join(shlex.join(command) for command in step.commands)
    container = client.containers.create(
        image,
        ["sh", "-ec", script],
        environment={**ENVIRONMENT, **step.environment},
        hostname="piimage",
        network_disabled=True,
        working_dir=WORK,
        user="0:0",
    )
    try:
        container.put_archive(WORK, b"".join(tar_chunks(_entries(work))))
        container.start()
        status = container.wait(timeout=_TIMEOUT)["StatusCode"]
        if status != 0:
            raise failed(step.name, container.logs().decode(errors="replace"))
        _unpack(container.get_archive(WORK)[0], out)
    finally:
        container.remove(force=True)
    return out / Path(WORK).name


def _entries(work: Path) -> Iterator[Entry]:
    for path in sorted(work.rglob("*")):
        name = str(path.relative_to(work))
        yield folder(name) if path.is_dir() else file(name, path.read_bytes())


def _unpack(chunks: Iterator[bytes], target: Path) -> None:
    """Write the files of the engine's tar below `target`; links and devices are skipped."""
    stream = cast("IO[bytes]", io.BytesIO(b"".join(chunks)))
    for entry in read_tar(stream, "the engine's answer"):
        path = target / entry.path
        if entry.kind is Kind.FILE:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(b"".join(entry.content()))
