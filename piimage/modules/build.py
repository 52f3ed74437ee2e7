"""The verb `module build`: from one module folder to a .ko, without an image."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from piimage.config.models import Appliance, Module
from piimage.config.module_folder import ModuleFolder, module_folder
from piimage.durable import write_chunks
from piimage.errors import InputError
from piimage.kernel.modinfo import ModuleInfo, read_modinfo
from piimage.lock import Lock
from piimage.locking.fetching import fetch, make
from piimage.locking.inputs import Inputs
from piimage.modules.steps import module_step
from piimage.toolchain.docker import DockerBuild
from piimage.toolchain.steps import Compiled


@dataclass(frozen=True)
class Built:
    """A built module: the path and size of its file, and its description."""

    path: Path
    size: int
    info: ModuleInfo


def alone(folder: Path, board: str) -> Appliance:
    """Return the smallest appliance with the module, for a build without a file."""
    return Appliance(board=board, modules=(Module(build=str(folder)),))


def require_named(appliance: Appliance, folder: Path, file: Path) -> None:
    """Refuse a module that `file` does not load: its lock does not say how to build it.

    Raises InputError ``modules.not-in-file``.
    """
    builds = {Path(module.build).resolve() for module in appliance.modules if module.build}
    if folder.resolve() not in builds:
        raise InputError(
            "modules.not-in-file",
            f"the file does not name the module in {folder}",
            place=str(file),
            hint=f"add it below `modules:` as `- build: {folder}`, or build without the file",
        )


def build_module(
    folder: Path, lock: Lock, inputs: Inputs, out: Path, docker: DockerBuild | None = None
) -> Built:
    """Build the module for the kernel of `lock`, and write it into `out`.

    bubblewrap builds it, and the store keeps it; an engine `docker` builds it each time.
    """
    module = module_folder(folder)
    data = _made(module, lock, inputs, docker)
    out.mkdir(parents=True, exist_ok=True)
    target = write_chunks(out / module.file, [data])
    return Built(target, len(data), read_modinfo(data, module.file))


def _made(folder: ModuleFolder, lock: Lock, inputs: Inputs, docker: DockerBuild | None) -> bytes:
    step = module_step(folder, lock)
    if docker is None or not isinstance(step, Compiled):
        return make([step], lock, inputs).file(step).read_bytes()
    fetch([step], lock, inputs)
    return docker.build(step, make(step.needs(), lock, inputs))[folder.file]
