"""Builds a wheel of a source archive; runs in the toolchain's sandbox with its Python.

``inside.py ARCHIVE TARGET``: calls the hook `build_wheel` (PEP 517) of the archive's own backend,
which has to be setuptools, because the sandbox has no other. Uses the standard library only.
"""

import importlib
import os
import re
import sys
import tarfile
import tomllib
from collections.abc import Iterable
from pathlib import Path

HAS = ("setuptools", "wheel")
"""The permitted ``[build-system] requires``; setuptools does not need the package wheel."""


def main(archive: str, target: str) -> None:
    """Unpack `archive`, and build its wheel into the folder `target`."""
    source = Path("source").absolute()
    with tarfile.open(archive) as tar:
        tar.extractall(source, filter="data")
    (folder,) = source.iterdir()
    made = Path(target).absolute()
    made.mkdir()
    os.chdir(folder)
    backend, paths = backend_of(Path("pyproject.toml"))
    sys.path[:0] = [str(folder / path) for path in paths]
    module, _, name = backend.partition(":")
    found = importlib.import_module(module)
    hooks = getattr(found, name) if name else found
    # Only the backend knows `setup_requires`; the hook is optional.
    refuse_more(getattr(hooks, "get_requires_for_build_wheel", list)())
    hooks.build_wheel(str(made))


def backend_of(description: Path) -> tuple[str, list[str]]:
    """Return the backend that `description` names, and its folders.

    Exits with a message if the package requires more than the sandbox has.
    """
    project = tomllib.loads(description.read_text()) if description.is_file() else {}
    system = project.get("build-system", {})
    refuse_more(system.get("requires", ()))
    return system.get("build-backend", "setuptools.build_meta:__legacy__"), list(
        system.get("backend-path", ())
    )


def refuse_more(requirements: Iterable[str]) -> None:
    """Exit with a message if the sandbox does not have all `requirements`."""
    names = [re.split(r"[^A-Za-z0-9._-]", line.strip())[0] for line in requirements]
    more = [name for name in names if name.lower() not in HAS]
    if more:
        sys.exit(f"its build needs {', '.join(more)}, but the toolchain has only setuptools")


if __name__ == "__main__":
    main(*sys.argv[1:])
