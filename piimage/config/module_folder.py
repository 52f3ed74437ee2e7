"""The module folders that a file names."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from piimage import resources
from piimage.board import Board
from piimage.boundary import require_inside
from piimage.config.load import load_module
from piimage.config.models import Appliance
from piimage.config.module import KernelModule
from piimage.errors import InputError
from piimage.firmware.boot_loaders import boot_loader_of

_MAKERS: Final = ("Kbuild", "Makefile")
# Files that a build in the folder itself creates.
_BUILT: Final = (".o", ".ko", ".mod", ".mod.c", ".cmd", ".order", ".symvers", ".lock")


@dataclass(frozen=True)
class ModuleFolder:
    """A folder with a module.yml, and the content of that file."""

    path: Path
    module: KernelModule

    @property
    def file(self) -> str:
        """The name of the file that the build makes."""
        return f"{self.module.name}.ko"

    def sources(self) -> Mapping[str, bytes]:
        """Return the folder's files by path, without module.yml and the results of a build.

        Raises InputError ``modules.no-kbuild``, ``config.outside``.
        """
        paths = [
            path
            for path in sorted(self.path.rglob("*"))
            if path.is_file() and not _is_skipped(path.relative_to(self.path))
        ]
        for path in paths:
            require_inside(path, self.path, str(self.path / "module.yml"))
        files = {str(path.relative_to(self.path)): path.read_bytes() for path in paths}
        if not any(name in files for name in _MAKERS):
            raise InputError(
                "modules.no-kbuild",
                "the folder has no Kbuild file",
                place=str(self.path),
                hint=f"create one with the line: obj-m := {self.module.name}.o",
            )
        return files

    def prebuilt(self) -> bytes | None:
        """Return the prebuilt module of the folder, if module.yml names one.

        Raises InputError ``modules.no-prebuilt``.
        """
        if self.module.prebuilt is None:
            return None
        path = self.path / self.module.prebuilt
        require_inside(path, self.path, str(self.path / "module.yml"))
        if not path.is_file():
            raise InputError(
                "modules.no-prebuilt",
                f"there is no file {self.module.prebuilt}",
                place=str(self.path / "module.yml"),
                hint="put the module there, or correct `prebuilt:`",
            )
        return path.read_bytes()


def _is_skipped(path: Path) -> bool:
    hidden = any(part.startswith(".") for part in path.parts)
    return hidden or path.name.endswith(_BUILT) or path.name == "module.yml"


def module_folder(path: Path) -> ModuleFolder:
    """Return the module folder at `path`; errors as `load_module`."""
    return ModuleFolder(path, load_module(path))


def module_folders(appliance: Appliance, board: Board) -> tuple[ModuleFolder, ...]:
    """Return the module folders of the file, in its order.

    With `slots: updates:`, the last one may be that of the module that tells the boot loader of
    `board` to try a version.
    """
    builds = [Path(module.build) for module in appliance.modules if module.build is not None]
    flag = boot_loader_of(board).try_flag
    if appliance.slots.updates and flag.built:
        builds.append(resources.path("kernel-modules") / flag.module)
    return tuple(module_folder(build) for build in builds)
