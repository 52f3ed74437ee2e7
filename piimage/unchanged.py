"""The quick way out of a build: nothing that it looked at has changed, and its outputs lie there.

What a build looks at is seen and not listed by hand, so that no input can be forgotten: files that
are opened, folders that are listed and programs that are started by an audit hook (PEP 578), and
what is only asked for (is there a lock? where does this link lead?) by a layer over those functions
of `os` that raise no audit event. Nothing is left out by what its path looks like: what piimage
itself makes counts as it was made, and code counts by the modules that were imported. Times of
change (ctime) are compared, not contents: a file that was touched costs a build, which then finds
every step made. Imports only what is cheap, since all of piimage's time goes to imports here.
"""

from __future__ import annotations

import functools
import hashlib
import json
import os
import re
import shutil
import stat
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from piimage import resources
from piimage.errors import PiimageError
from piimage.store import Store

Stamp = tuple[int, ...] | None
"""What tells one state of a file or folder from another; None where nothing is."""

_SHIPPED: Final = ("boards", "appliance", "bases", "libraries", "services", "kernel-modules")
_WORD: Final = re.compile(rb"[A-Za-z_][A-Za-z0-9_]*")
_OWN_VARIABLES: Final = "PIIMAGE_"
_LIBRARIES: Final = "/etc/ld.so.cache"
"""Written anew whenever a shared library comes or goes (ldconfig(8)): programs pack with them."""
_STATELESS: Final = ("/proc", "/sys", "/dev")
"""Where no stamp says what a file will answer."""
_STORED: Final = ("blobs", "memo", "tmp", "locks", "trees", "built", "index.json", "oci-layout")
"""What the store keeps by digest or for itself."""
_SILENT: Final = ("stat", "lstat", "readlink", "access")
"""The functions of `os` that look at a path without an audit event."""
_WHICH: Final = 5
"""How many numbers of a stamp say which file it is; the last says when it changed."""
_stat, _lstat = os.stat, os.lstat  # as they are without the layer; Path costs more
_WRITING: Final = os.O_WRONLY | os.O_RDWR
_TICK: Final = 20_000_000
"""Nanoseconds in which a second change of a file may leave the times of the first: two ticks of the
kernel's slowest clock (100 Hz)."""


def stamp(path: str | Path) -> Stamp:
    """Return what tells one state of the file, or of the list of a folder, from another."""
    return _taken(_stat, path)


def link_stamp(path: str | Path) -> Stamp:
    """Return what tells one link from another; for what is no link, whether it is there."""
    found = _taken(_lstat, path)
    return found if found is None or stat.S_ISLNK(found[0]) else (stat.S_IFMT(found[0]),)


def kind_stamp(path: str | Path) -> Stamp:
    """Return the stamp of a file; for a folder or a device, which one it is and its mode alone."""
    found = stamp(path)
    return found if found is None or stat.S_ISREG(found[0]) else found[:_WHICH]


def _taken(look: Callable[[str | Path], os.stat_result], path: str | Path) -> Stamp:
    try:
        found = look(path)
    except (OSError, ValueError):
        return None
    which = (found.st_mode, found.st_dev, found.st_ino, found.st_uid, found.st_gid)
    return (*which, found.st_size, found.st_mtime_ns, found.st_ctime_ns)


STAMPS: Final[Mapping[str, Callable[[str], Stamp]]] = {
    "list": stamp,
    "look": kind_stamp,
    "link": link_stamp,
}
"""The ways to look at a path: the list of a folder, what is there, and where a link leads."""

Looked = tuple[str, str]
"""A way to look, and the path that was looked at."""


class Witness:
    """Sees what this process looks at, and what it makes, while it watches."""

    def __init__(self, ignored: Iterable[str] = ()) -> None:
        self.blind: set[str] = set()
        """Paths that were read and whose state no stamp tells."""
        self._ignored = tuple(ignored)
        self._seen: dict[Looked, Stamp] = {}
        self._read_at: dict[Looked, int] = {}
        self._made: set[str] = set()
        self._fresh: set[str] = set()
        self._watching = False
        self._own = threading.local()
        self._settling = threading.Lock()

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Watch; a hook cannot be taken away again, so it falls silent afterwards."""
        before = {name: getattr(os, name) for name in _SILENT}
        self._watching = True
        sys.addaudithook(self._hook)
        for name, function in before.items():
            setattr(os, name, self._noting(name, function))
        try:
            yield
        finally:
            self._watching = False
            for name, function in before.items():
                setattr(os, name, function)

    def inputs(self) -> Mapping[Looked, Stamp] | None:
        """Stop, and return what was looked at; None if a later build could see something else.

        So it is where a thing changed meanwhile, or so shortly before that the same times may hide
        a second change, or where what was read has no state.
        """
        self._watching = False
        self._settle()
        found = {one: was for one, was in self._seen.items() if not self._is_gone(one[1])}
        for one, was in found.items():
            if STAMPS[one[0]](one[1]) != was:
                return None
            if was and len(was) > _WHICH and was[-1] > self._read_at[one] - _TICK:
                return None
        return None if self.blind else found

    def _noting(self, name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        way = "link" if name in ("lstat", "readlink") else "look"

        @functools.wraps(function)
        def noting(path: Any, *args: Any, **more: Any) -> Any:  # noqa: ANN401  # as os has it
            if more.get("dir_fd") is None:
                follows = more.get("follow_symlinks", True)
                self._look(way if follows else "link", path)
            return function(path, *args, **more)

        return noting

    def _hook(self, event: str, details: tuple[Any, ...]) -> None:
        if not self._watching:
            return
        match event:
            case "open":
                if isinstance(details[2], int) and details[2] & _WRITING:
                    self._make(details[0])
                elif not sys._getframe(1).f_code.co_filename.startswith("<frozen importlib"):
                    self._look("look", details[0], read=True)
            case "os.listdir" | "os.scandir":
                if not sys._getframe(1).f_code.co_filename.startswith("<frozen importlib"):
                    self._look("list", "." if details[0] is None else details[0])
            case "os.mkdir" if kind_stamp(details[0]) is None:
                self._make(details[0])
            case "os.truncate" | "os.chmod" | "os.chown" | "os.utime":
                self._make(details[0])
            case "os.rename" | "os.link" | "os.symlink":
                self._make(details[1])
            case "subprocess.Popen":
                self._start(details[0], details[3])

    def _start(self, program: Any, environment: Mapping[str, str] | None) -> None:  # noqa: ANN401
        """Look at the program that is started, and where an other of its name would be found."""
        path = (os.environ if environment is None else environment).get("PATH")
        found = shutil.which(os.fsdecode(program), path=path)
        if found is not None:
            self._look("look", found)

    def _look(self, way: str, path: Any, *, read: bool = False) -> None:  # noqa: ANN401
        if not self._watching or getattr(self._own, "busy", False):
            return
        name = _absolute(path)
        if name is None or _is_below(name, self._ignored):
            return
        self._own.busy = True  # what this looks at itself is nobody's input
        try:
            self._settle()
            if (way, name) not in self._seen:
                self._seen[way, name] = STAMPS[way](name)
                self._read_at[way, name] = time.time_ns()
            if read and not _has_state(name):
                self.blind.add(name)
        finally:
            self._own.busy = False

    def _make(self, path: Any) -> None:  # noqa: ANN401  # what the event has
        name = _absolute(path)
        if name is None or _is_below(name, self._ignored) or _is_below(name, _STATELESS):
            return
        self._settle()
        for way in ("look", "link"):
            self._seen.pop((way, name), None)
        self._made.add(name)
        self._fresh.add(name)

    def _settle(self) -> None:
        """Note what was made, in the state that it has before anything else is looked at."""
        with self._settling:  # steps are made in threads
            while self._fresh:
                name = self._fresh.pop()
                self._seen["look", name] = kind_stamp(name)
                self._read_at["look", name] = sys.maxsize

    def _is_gone(self, path: str) -> bool:
        """Say whether this build itself made and removed `path`, or a folder above it."""
        above = [path, *map(str, Path(path).parents)]
        return any(one in self._made and not os.path.lexists(one) for one in above)


def _absolute(path: Any) -> str | None:  # noqa: ANN401  # also numbers of open files
    if not isinstance(path, str | bytes | os.PathLike):
        return None
    return os.path.abspath(os.fsdecode(path))  # noqa: PTH100  # links stay as they are named


def _is_below(path: str, folders: Iterable[str]) -> bool:
    return any(path == one or path.startswith(f"{one}/") for one in folders)


def _has_state(path: str) -> bool:
    found = stamp(path)
    if found is None:
        return True
    if not (stat.S_ISREG(found[0]) or stat.S_ISDIR(found[0])):
        return False
    return not _is_below(os.path.realpath(path), _STATELESS)


@dataclass(frozen=True)
class Memory:
    """What is remembered of the last build of one target: the same files, options and folders."""

    store: Store
    files: tuple[Path, ...]
    out: Path
    options: tuple[str, ...]
    """All that the command line says beside files and folder."""

    @property
    def _path(self) -> Path:
        parts = [*map(str, self._places()), str(self.out.absolute()), str(Path.cwd())]
        key = hashlib.sha256(os.fsencode("\0".join([*parts, *self.options])))
        return self.store.root / "built" / f"{key.hexdigest()}.json"

    def _places(self) -> list[Path]:
        return [path.absolute() for path in self.files]

    def witness(self) -> Witness:
        """Return who watches a build of this target.

        In a folder that is a project's and the store's, `tmp` may be either's: then all counts.
        """
        root = self.store.root.absolute()
        shared = any(path.parent == root for path in self._places())
        return Witness(() if shared else (str(root / name) for name in _STORED))

    def unchanged(self, environment: Mapping[str, str]) -> str | None:
        """Return what the last build said if it would say and write the same again."""
        try:
            known = json.loads(self._path.read_bytes())
            if known["code"] != own_state() or known["variables"] != _values(
                known["variables"], environment
            ):
                return None
            expected = {**known["inputs"], "look": known["inputs"]["look"] | known["outputs"]}
            same = all(
                _listed(STAMPS[way](path)) == was
                for way, stamps in expected.items()
                for path, was in stamps.items()
            )
            return str(known["said"]) if same else None
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            return None

    def remember(
        self, witness: Witness, outputs: Iterable[Path], said: str, environment: Mapping[str, str]
    ) -> None:
        """Note what a build has looked at and written, if that says what the next would see."""
        self._path.unlink(missing_ok=True)
        seen = witness.inputs()
        if seen is None:
            return
        inputs: dict[str, dict[str, Stamp]] = {way: {} for way in STAMPS}
        for (way, path), was in seen.items():
            inputs[way][path] = was
        for path in (*_code_files(), _LIBRARIES):
            inputs["look"].setdefault(path, kind_stamp(path))
        document = {
            "code": own_state(),
            "variables": _values(self._names(inputs["look"]), environment),
            "inputs": inputs,
            "outputs": {str(path.absolute()): kind_stamp(path) for path in outputs},
            "said": said,
        }
        with suppress(PiimageError):  # a full disk: the next build has to look
            self.store.write_beside(self._path, json.dumps(document).encode())

    def _names(self, paths: Iterable[str]) -> set[str]:
        """Return the names of variables that count.

        They are those of which helper programs are told, and any that stands as a word in a YAML
        file: whatever form a file has for the value of a variable, it has the name.
        """
        from piimage.run import ENGINE, KEPT  # noqa: PLC0415  # a build has imported it

        texts = [path for path in paths if path.endswith((".yml", ".yaml")) and _is_file(path)]
        words = {
            word.decode()
            for path in {*texts, *map(str, self._places())}
            for word in _WORD.findall(Path(path).read_bytes())
        }
        return words | {*ENGINE, *KEPT}


def _is_file(path: str) -> bool:
    found = stamp(path)
    return found is not None and stat.S_ISREG(found[0])


def _values(names: Iterable[str], environment: Mapping[str, str]) -> dict[str, str | None]:
    """Return the values of `names`, and of every variable of piimage's own."""
    own = (name for name in environment if name.startswith(_OWN_VARIABLES))
    return {name: environment.get(name) for name in sorted({*names, *own})}


def _listed(value: Stamp) -> list[int] | None:
    return None if value is None else list(value)


def _code_files() -> Iterator[str]:
    """Give the files of all modules that were imported: piimage's libraries count as it does."""
    for module in list(sys.modules.values()):
        file = getattr(module, "__file__", None)
        if isinstance(file, str):
            yield file


def own_state() -> str:
    """Return the digest of the state of piimage's own code and of what it ships."""
    digest = hashlib.sha256(sys.version.encode())
    folders = [str(Path(__file__).parent), *(str(resources.path(name)) for name in _SHIPPED)]
    for path in _walk(folders):
        digest.update(os.fsencode(f"{path} {stamp(path)}\n"))
    return digest.hexdigest()


def _walk(folders: Sequence[str]) -> Iterator[str]:
    for top in folders:
        for folder, below, names in os.walk(top):
            below[:] = sorted(name for name in below if name != "__pycache__")
            yield from (f"{folder}/{name}" for name in sorted(names))
