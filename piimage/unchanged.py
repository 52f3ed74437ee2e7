"""The quick way out of a build: nothing that it read has changed, and its outputs still lie there.

What a build reads is seen by an audit hook (PEP 578) and not listed by hand, so that no input can
be forgotten: a step's key hashes its inputs, so each was opened by this process. Times of change
(ctime) are compared, not contents: a file that was touched costs a build, which then finds every
step made. Imports only what is cheap, since all of piimage's time goes to imports here.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from piimage import resources
from piimage.store import Store

Stamp = tuple[int, ...] | None
"""Size, times and inode of a file or folder; None where nothing is."""

_SHIPPED: Final = ("boards", "appliance", "services", "kernel-modules")
_VARIABLE: Final = re.compile(rb"\$\{([A-Za-z_][A-Za-z0-9_]*)")
_NOT_INPUTS: Final = ("/proc/", "/sys/", "/dev/", "/etc/", "/run/")
_LIBRARY: Final = str(Path(os.__file__).parent)


def stamp(path: str | Path) -> Stamp:
    """Return what tells one state of `path` from another."""
    try:
        found = os.stat(path)  # noqa: PTH116  # thousands of times, and Path costs more
    except OSError:
        return None
    return found.st_size, found.st_mtime_ns, found.st_ctime_ns, found.st_ino, found.st_mode


@dataclass
class Witness:
    """Sees which files and folders this process reads while it watches."""

    ignored: tuple[str, ...]
    seen: dict[str, Stamp] = field(default_factory=dict)
    _watching: bool = False

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Watch; a hook cannot be taken away again, so it falls silent afterwards."""
        self._watching = True
        sys.addaudithook(self._hook)
        try:
            yield
        finally:
            self._watching = False

    def _hook(self, event: str, details: tuple[object, ...]) -> None:
        if not self._watching or event not in ("open", "os.listdir", "os.scandir"):
            return
        name = details[0]
        if (
            event == "open"
            and isinstance(details[2], int)
            and details[2] & (os.O_WRONLY | os.O_RDWR)
        ):
            return
        if isinstance(name, str | bytes):
            self._note(os.path.abspath(os.fsdecode(name)))  # noqa: PTH100

    def _note(self, path: str) -> None:
        if path in self.seen or path.startswith(self.ignored):
            return
        if "/site-packages/" in path or "/dist-packages/" in path or path.endswith(".pyc"):
            return
        self.seen[path] = stamp(path)


@dataclass(frozen=True)
class Memory:
    """What is remembered of the last build of one target: the same files, options and folder."""

    store: Store
    files: tuple[Path, ...]
    out: Path
    options: tuple[str, ...]

    @property
    def _path(self) -> Path:
        parts = [*map(str, self._places()), str(self.out.absolute()), *self.options]
        key = hashlib.sha256("\0".join(parts).encode()).hexdigest()
        return self.store.root / "built" / f"{key}.json"

    def _places(self) -> list[Path]:
        return [path.absolute() for path in self.files]

    def witness(self) -> Witness:
        """Return who watches a build of this target."""
        roots = (self.store.root, self.out)
        return Witness((*_NOT_INPUTS, f"{_LIBRARY}/", *(f"{one.absolute()}" for one in roots)))

    def unchanged(self, environment: Mapping[str, str]) -> str | None:
        """Return what the last build said if it would say and write the same again."""
        try:
            known = json.loads(self._path.read_bytes())
            if known["code"] != own_state() or known["variables"] != {
                name: environment.get(name) for name in known["variables"]
            }:
                return None
            expected = {**known["inputs"], **known["outputs"]}
            same = all(_listed(stamp(path)) == was for path, was in expected.items())
            return str(known["said"]) if same else None
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            return None

    def remember(
        self, witness: Witness, outputs: Iterable[Path], said: str, environment: Mapping[str, str]
    ) -> None:
        """Note what a build has read and written."""
        inputs = {path: was for path, was in witness.seen.items() if was == stamp(path)}
        if len(inputs) < sum(Path(path).exists() for path in witness.seen):
            return  # something changed while it was being built: the next build has to look
        # Where the lock, or a board of one's own, is made by this build or the next.
        extra = [p.with_suffix(".lock") for p in self._places()]
        extra += [p.parent / "boards" for p in self._places()]
        names = sorted({resources.BOARDS_VARIABLE, *_variables(inputs)})
        document = {
            "code": own_state(),
            "variables": {name: environment.get(name) for name in names},
            "inputs": {**inputs, **{str(path): stamp(path) for path in extra}},
            "outputs": {str(path.absolute()): stamp(path) for path in outputs},
            "said": said,
        }
        self.store.write_beside(self._path, json.dumps(document).encode())


def _listed(value: Stamp) -> list[int] | None:
    return None if value is None else list(value)


def _variables(paths: Iterable[str]) -> set[str]:
    """Return the names that the YAML files among `paths` have as ``${NAME}``."""
    found: set[str] = set()
    for path in paths:
        if path.endswith((".yml", ".yaml")):
            found |= {name.decode() for name in _VARIABLE.findall(Path(path).read_bytes())}
    return found


def own_state() -> str:
    """Return the digest of the state of piimage's own code and of what it ships."""
    digest = hashlib.sha256(sys.version.encode())
    folders = [str(Path(__file__).parent), *(str(resources.path(name)) for name in _SHIPPED)]
    for path in _walk(folders):
        digest.update(f"{path} {stamp(path)}\n".encode())
    return digest.hexdigest()


def _walk(folders: Sequence[str]) -> Iterator[str]:
    for top in folders:
        for folder, below, names in os.walk(top):
            below[:] = sorted(name for name in below if name != "__pycache__")
            yield from (f"{folder}/{name}" for name in sorted(names))
