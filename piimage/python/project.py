"""Installs a folder with a pyproject.toml as its wheel would be, without running a build backend.

``[project]`` (PEP 621) has the name, version, programs and entry points; the static tables of
setuptools and hatchling say which folder has the packages. A project that has to be compiled or
generated is refused: build a wheel of it.
"""

from __future__ import annotations

import itertools
import re
import tomllib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, Final

from packaging.utils import canonicalize_name
from packaging.version import InvalidVersion, Version

from piimage.boundary import require_inside
from piimage.errors import InputError
from piimage.python.wheel import PREFIX, launcher, record, recorded, site
from piimage.trees import clean_path

FILE: Final = "pyproject.toml"
_BACKENDS: Final = ("setuptools", "hatchling", "flit_core", "poetry", "pdm", "uv_build")
_COMPILED: Final = (".c", ".cc", ".cpp", ".cxx", ".pyx", ".rs", ".f90")
_NOT_PACKAGES: Final = frozenset(
    ("test", "tests", "doc", "docs", "example", "examples", "bench", "benchmarks", "build", "dist")
)
_NAME: Final = re.compile(r"[A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?")
Laid = tuple[str, bytes, int]


@dataclass(frozen=True)
class Project:
    """The used parts of a project: `sources` are files and folders by their path in the site."""

    folder: Path
    name: str
    version: str
    programs: Mapping[str, str]
    entry_points: Mapping[str, Mapping[str, str]]
    requires: tuple[str, ...]
    sources: Mapping[str, Path]

    def files(self, python: str) -> Iterator[Laid]:
        """Give path, bytes and mode of every installed file, for CPython ``3.minor``."""
        rows: list[tuple[str, str, str]] = []
        info = f"{self.name.replace('-', '_')}-{self.version}.dist-info"
        folder = f"{site(python)}/{info}"
        for path, data, mode in self._content(site(python), folder):
            rows.append(recorded(path, data))
            yield path, data, mode
        yield f"{folder}/RECORD", record(f"{folder}/RECORD", rows, site(python)), 0o644

    def _content(self, where: str, info: str) -> Iterator[Laid]:
        for place, source in sorted(self.sources.items()):
            for path in _regular(source):
                inner = path.relative_to(source).as_posix()
                target = place if source.is_file() else f"{place}/{inner}"
                yield f"{where}/{target}", path.read_bytes(), 0o644
        for name, target in sorted(self.programs.items()):
            yield f"{PREFIX}/bin/{name}", launcher(target), 0o755
        yield f"{info}/METADATA", self._metadata(), 0o644
        yield f"{info}/INSTALLER", b"piimage\n", 0o644
        if self.entry_points:
            yield f"{info}/entry_points.txt", _entry_points(self.entry_points), 0o644

    def _metadata(self) -> bytes:
        lines = ["Metadata-Version: 2.1", f"Name: {self.name}", f"Version: {self.version}"]
        lines += [f"Requires-Dist: {requirement}" for requirement in self.requires]
        return "".join(f"{line}\n" for line in lines).encode()


def read_project(folder: Path) -> Project:
    """Read the project in `folder`.

    Raises InputError ``python.project`` if there is no project or its pyproject.toml is invalid,
    ``python.needs-build`` if its wheel would have other files, ``config.outside`` if its files are
    outside of the folder.
    """
    place = str(folder / FILE)
    require_inside(folder / FILE, folder, place)
    try:
        document = tomllib.loads((folder / FILE).read_text())
    except FileNotFoundError:
        raise _bad(place, "there is no pyproject.toml") from None
    except (OSError, ValueError) as error:
        raise _bad(place, str(error)) from None
    try:
        return _project(folder, document, place)
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise _bad(place, f"a value is missing or has the wrong type ({error})") from None


def _project(folder: Path, document: Mapping[str, Any], place: str) -> Project:
    table = document.get("project")
    if not isinstance(table, dict) or not _NAME.fullmatch(str(table.get("name", ""))):
        raise _bad(place, "it has no [project] with a name")
    backend = str(document.get("build-system", {}).get("build-backend", "setuptools"))
    if backend.partition(".")[0] not in _BACKENDS:
        raise _needs_build(place, f"{backend} determines its content")
    if (folder / "setup.py").exists():
        raise _needs_build(place, "its setup.py determines its content")
    tool = document.get("tool", {})
    if tool.get("setuptools", {}).get("ext-modules"):
        raise _needs_build(place, "it has extension modules")
    packages = dict(_sources(folder, tool, place))
    sources = {**packages, **_included(folder, tool, place)}
    for source in sources.values():
        require_inside(source, folder, place)
    for path in itertools.chain.from_iterable(map(_regular, packages.values())):
        if path.suffix in _COMPILED:
            raise _needs_build(place, f"{path.relative_to(folder)} has to be compiled")
    programs = {**table.get("scripts", {}), **table.get("gui-scripts", {})}
    for target in programs.values():
        launcher(target)
    points = {
        "console_scripts": table.get("scripts", {}),
        "gui_scripts": table.get("gui-scripts", {}),
        **table.get("entry-points", {}),
    }
    return Project(
        folder,
        str(canonicalize_name(table["name"])),
        _version(table, place),
        {str(name): str(target) for name, target in programs.items()},
        {group: dict(named) for group, named in points.items() if named},
        tuple(map(str, table.get("dependencies", ()))),
        sources,
    )


def _version(table: Mapping[str, Any], place: str) -> str:
    """Return the version in the form of wheels; "0" for a dynamic version."""
    if "version" not in table:
        return "0"
    try:
        return str(Version(str(table["version"])))
    except InvalidVersion:
        raise _bad(place, f"{table['version']!r} is not a version (PEP 440)") from None


def _sources(folder: Path, tool: Mapping[str, Any], place: str) -> Iterator[tuple[str, Path]]:
    """Give the packages and modules by name, with their paths by the backend's static tables."""
    setuptools = tool.get("setuptools", {})
    named = _hatch(tool).get("packages")
    if named is not None:
        found = [(Path(package).name, folder / package) for package in named]
    else:
        found = list(_discovered(folder, setuptools))
    missing = [str(path) for _, path in found if not path.exists()]
    if missing or not found:
        raise _bad(place, f"its packages are missing: {', '.join(missing) or 'none was found'}")
    yield from found


def _included(folder: Path, tool: Mapping[str, Any], place: str) -> Mapping[str, Path]:
    """Return the files and folders that hatchling adds to a wheel as they are, by their path."""
    table = _hatch(tool).get("force-include", {})
    found = {clean_path(target): folder / source for source, target in table.items()}
    missing = [str(path) for path in found.values() if not path.exists()]
    if missing:
        raise _bad(place, f"force-include names what is missing: {', '.join(missing)}")
    return found


def _hatch(tool: Mapping[str, Any]) -> Mapping[str, Any]:
    targets = tool.get("hatch", {}).get("build", {}).get("targets", {})
    return dict(targets.get("wheel", {}))


def _discovered(folder: Path, setuptools: Mapping[str, Any]) -> Iterator[tuple[str, Path]]:
    packages = setuptools.get("packages")
    find = packages.get("find", {}) if isinstance(packages, dict) else {}
    default = "src" if (folder / "src").is_dir() else "."
    where = folder / (find.get("where") or [default])[0]
    include, exclude = find.get("include", ["*"]), find.get("exclude", [])
    listed = {name.partition(".")[0] for name in packages} if isinstance(packages, list) else None
    for path in sorted(where.iterdir()):
        name = path.stem if path.is_file() else path.name
        if listed is not None:
            wanted = name in listed
        else:
            wanted = _matches(name, include) and not _matches(name, exclude)
            wanted = wanted and ("include" in find or name not in _NOT_PACKAGES)
        if wanted and (path / "__init__.py").is_file():
            yield name, path
    for name in setuptools.get("py-modules", ()):
        yield f"{name}.py", where / f"{name}.py"


def _matches(name: str, patterns: Sequence[str]) -> bool:
    return any(fnmatchcase(name, pattern) for pattern in patterns)


def _regular(source: Path) -> Iterable[Path]:
    """Return the files of a package sorted by name, without Python's bytecode caches."""
    if source.is_file():
        return [source]
    found = (path for path in sorted(source.rglob("*")) if path.is_file())
    return [path for path in found if "__pycache__" not in path.parts and path.suffix != ".pyc"]


def _entry_points(groups: Mapping[str, Mapping[str, str]]) -> bytes:
    lines: list[str] = []
    for group, named in sorted(groups.items()):
        programs = (f"{name} = {target}" for name, target in sorted(named.items()))
        lines += [f"[{group}]", *programs, ""]
    return "\n".join(lines).encode()


def _bad(place: str, why: str) -> InputError:
    return InputError(
        "python.project",
        f"this project cannot be installed: {why}",
        place=place,
        hint="add [project] with name and version, and a folder NAME or src/NAME with an "
        "__init__.py",
    )


def _needs_build(place: str, why: str) -> InputError:
    return InputError(
        "python.needs-build",
        f"this project has to be built, but piimage does not run its build backend: {why}",
        place=place,
        hint="build a wheel of it for aarch64, name it under wheels:, and name its folder with "
        "--index or pip's find-links",
    )
