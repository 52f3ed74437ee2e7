"""The verb `module build`: one module folder to a .ko, without an image around it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from piimage.boards import Board
from piimage.config.models import Appliance, Module
from piimage.config.module_folder import ModuleFolder, module_folder
from piimage.durable import write_chunks
from piimage.errors import InputError
from piimage.kernel.modinfo import ModuleInfo, read_modinfo
from piimage.lock import Lock, require_current
from piimage.locking.resolve import Sources, asked, existing_lock, make_lock, write_lock
from piimage.locking.wheels import asked_sources, asked_wheels, folders_with_wheels
from piimage.modules.steps import module_step
from piimage.steps import Builder, Job, Step
from piimage.toolchain.docker import DockerBuild
from piimage.toolchain.steps import Compiled


@dataclass(frozen=True)
class Built:
    """A finished module: where it was written, and what it says of itself."""

    path: Path
    size: int
    info: ModuleInfo


def alone(folder: Path, board: str) -> Appliance:
    """Return the smallest appliance with the module, for who has no file yet."""
    return Appliance(board=board, modules=(Module(build=str(folder)),))


def locked(appliance: Appliance, board: Board, folder: Path, path: Path, sources: Sources) -> Lock:
    """Return the lock at `path` of an appliance with the module; it is made if it is not there.

    Raises InputError ``modules.not-in-file`` when the file does not load the module of `folder`,
    so that its lock says nothing of what the build takes.
    """
    builds = {Path(one.build).resolve() for one in appliance.modules if one.build is not None}
    if folder.resolve() not in builds:
        raise InputError(
            "modules.not-in-file",
            f"the file does not name the module in {folder}",
            place=str(path.with_suffix(".yml")),
            hint=f"add it below `modules:` as `- build: {folder}`, or build without the file",
        )
    lock = existing_lock(path)
    if lock is None:
        lock = make_lock(appliance, board, sources, None)
        write_lock(lock, path)
    images = [image.reference for image in lock.images]
    folders = folders_with_wheels(appliance)
    wheels, built = asked_wheels(folders), asked_sources(folders)
    require_current(lock, asked(appliance, board, lock), images, wheels, built, place=str(path))
    return lock


def build_module(
    folder: Path, lock: Lock, sources: Sources, out: Path, docker: DockerBuild | None = None
) -> Built:
    """Build the module for the kernel of `lock`, and write it into `out`.

    By bubblewrap, and kept in the store; with `docker` by that engine, anew.
    """
    found = module_folder(folder)
    data = _made(found, lock, sources, docker)
    out.mkdir(parents=True, exist_ok=True)
    target = write_chunks(out / found.file, [data])
    return Built(target, len(data), read_modinfo(data, found.file))


def _made(folder: ModuleFolder, lock: Lock, sources: Sources, docker: DockerBuild | None) -> bytes:
    step = module_step(folder, lock)
    builder = Builder(sources.store, sources.runner, sources.emit)
    if docker is None or not isinstance(step, Compiled):
        _fetch(builder, [*builder.pending(step)], lock, sources)
        return builder.build(step).file(step).read_bytes()
    _fetch(builder, [step, *builder.pending(*step.needs())], lock, sources)
    job: Job = builder.build(*step.needs())
    return docker.build(step, job)[folder.file]


def _fetch(builder: Builder, steps: Iterable[Step], lock: Lock, sources: Sources) -> None:
    wanted = {blob.sha256 for step in steps for blob in step.blobs()}
    packages = [one for one in lock.packages if one.sha256 in wanted]
    if not all(builder.store.has(one.blob) for one in packages):
        sources.fetcher().fetch(packages)
