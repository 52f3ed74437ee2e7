"""Module folders that the file names, read once each."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from piimage.boundary import require_inside
from piimage.config.load import load_module
from piimage.config.models import Appliance
from piimage.config.module import KernelModule
from piimage.errors import InputError

_MAKERS: Final = ("Kbuild", "Makefile")
# What a build in the folder itself leaves behind.
_MADE: Final = (".o", ".ko", ".mod", ".mod.c", ".cmd", ".order", ".symvers", ".lock")


@dataclass(frozen=True)
class ModuleFolder:
    """A folder with a module.yml, and what that says."""

    path: Path
    module: KernelModule

    @property
    def file(self) -> str:
        """The name of the file that the build makes."""
        return f"{self.module.name}.ko"

    def sources(self) -> Mapping[str, bytes]:
        """Return the folder's files by path, without what a build left there.

        Raises InputError ``modules.no-kbuild``, ``config.outside``.
        """
        paths = [
            path
            for path in sorted(self.path.rglob("*"))
            if path.is_file() and not _is_made(path.relative_to(self.path))
        ]
        for path in paths:
            require_inside(path, self.path, str(self.path / "module.yml"))
        found = {str(path.relative_to(self.path)): path.read_bytes() for path in paths}
        if not any(name in found for name in _MAKERS):
            raise InputError(
                "modules.no-kbuild",
                "the folder has no Kbuild file",
                place=str(self.path),
                hint=f"write one with the line: obj-m := {self.module.name}.o",
            )
        return found

    def prebuilt(self) -> bytes | None:
        """Return the finished module of the folder, if it says that it has one.

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
                hint="put the module there, or mend `prebuilt:`",
            )
        return path.read_bytes()


def _is_made(path: Path) -> bool:
    hidden = any(part.startswith(".") for part in path.parts)
    return hidden or path.name.endswith(_MADE) or path.name == "module.yml"


def module_folder(path: Path) -> ModuleFolder:
    """Return the module folder at `path`; errors as `load_module`."""
    return ModuleFolder(path, load_module(path))


def module_folders(appliance: Appliance) -> tuple[ModuleFolder, ...]:
    """Return the module folders of the file, in its order."""
    builds = [module.build for module in appliance.modules if module.build is not None]
    return tuple(module_folder(Path(build)) for build in builds)
