"""Skips a build if none of its inputs has changed and its outputs still exist.

The inputs are observed, not listed by hand, so that none can be forgotten. An audit hook (PEP 578)
reports opened files, listed folders and started programs. Wrappers around the functions of `os`
that raise no audit event report the paths that are only examined (does the lock exist? where does
this link lead?). No path is excluded by its name: files that piimage itself writes count with the
state in which it wrote them, and code counts by the imported modules. Change times (ctime) are
compared, not contents: after a file is touched, a build runs, and finds every step made. This
module imports only what loads fast, because imports take all of the time here.
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
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence, Set
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from piimage import resources
from piimage.errors import PiimageError
from piimage.store import Store

Stamp = tuple[int, ...] | None
"""The identity of one state of a file or folder; None if the path does not exist."""

_SHIPPED: Final = ("boards", "appliance", "bases", "libraries", "services", "kernel-modules")
_WORD: Final = re.compile(rb"[A-Za-z_][A-Za-z0-9_]*")
_OWN_VARIABLES: Final = "PIIMAGE_"
_LIBRARIES: Final = "/etc/ld.so.cache"
"""ldconfig(8) rewrites it when a shared library changes; the packing programs use those."""
_STATELESS: Final = ("/proc", "/sys", "/dev")
"""Folders of the kernel, where a stamp does not identify a file's content."""
_STORED: Final = ("blobs", "memo", "tmp", "locks", "trees", "built", "index.json", "oci-layout")
"""The entries of the store that are named by digest or are its own state."""
_UNAUDITED: Final = ("stat", "lstat", "readlink", "access")
"""The functions of `os` that examine a path without an audit event."""
_IDENTITY: Final = 5
"""The numbers of a stamp that identify the file; the last number is its change time."""
_stat, _lstat = os.stat, os.lstat  # the unwrapped functions; Path is slower
_WRITING: Final = os.O_WRONLY | os.O_RDWR
_TICK: Final = 20_000_000
"""Nanoseconds in which a second change of a file may have the times of the first: two ticks of the
kernel's slowest clock (100 Hz)."""


def stamp(path: str | Path) -> Stamp:
    """Return the stamp of a file, or of the list of a folder."""
    return _stamped(_stat, path)


def link_stamp(path: str | Path) -> Stamp:
    """Return the stamp of a link; for any other path, only its kind."""
    numbers = _stamped(_lstat, path)
    if numbers is None or stat.S_ISLNK(numbers[0]):
        return numbers
    return (stat.S_IFMT(numbers[0]),)


def kind_stamp(path: str | Path) -> Stamp:
    """Return the stamp of a file; for a folder or a device, only its identity and mode."""
    numbers = stamp(path)
    return numbers if numbers is None or stat.S_ISREG(numbers[0]) else numbers[:_IDENTITY]


def _stamped(examine: Callable[[str | Path], os.stat_result], path: str | Path) -> Stamp:
    try:
        status = examine(path)
    except (OSError, ValueError):
        return None
    identity = (status.st_mode, status.st_dev, status.st_ino, status.st_uid, status.st_gid)
    return (*identity, status.st_size, status.st_mtime_ns, status.st_ctime_ns)


STAMPS: Final[Mapping[str, Callable[[str], Stamp]]] = {
    "list": stamp,
    "look": kind_stamp,
    "link": link_stamp,
}
"""The ways to examine a path: the list of a folder, the path itself, the target of a link."""

Observation = tuple[str, str]
"""A way to examine a path, and the path."""


class Witness:
    """Records what this process examines and creates while it watches."""

    def __init__(self, ignored: Iterable[str] = ()) -> None:
        self.blind: set[str] = set()
        """Paths that were read and whose content no stamp identifies."""
        self._ignored = tuple(ignored)
        self._seen: dict[Observation, Stamp] = {}
        self._read_at: dict[Observation, int] = {}
        self._made: set[str] = set()
        self._fresh: set[str] = set()
        self._watching = False
        self._own = threading.local()
        self._settling = threading.Lock()

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Watch until the block ends; an audit hook cannot be removed, so it does nothing then."""
        originals = {name: getattr(os, name) for name in _UNAUDITED}
        self._watching = True
        sys.addaudithook(self._hook)
        for name, function in originals.items():
            setattr(os, name, self._wrapped(name, function))
        try:
            yield
        finally:
            self._watching = False
            for name, function in originals.items():
                setattr(os, name, function)

    def inputs(self) -> Mapping[Observation, Stamp] | None:
        """Stop, and return the observations; None if a later build could see other inputs.

        That is so if an input changed during the build, or so shortly before that equal times may
        hide a second change, or if the content of an input is not identified by a stamp.
        """
        self._watching = False
        self._settle()
        # Those that this build itself created and removed are none.
        removed = {path for path in self._made if not os.path.lexists(path)}
        inputs = {key: seen for key, seen in self._seen.items() if not _is_in(key[1], removed)}
        for (way, path), seen in inputs.items():
            if STAMPS[way](path) != seen:
                return None
            if seen and len(seen) > _IDENTITY and seen[-1] > self._read_at[way, path] - _TICK:
                return None
        return None if self.blind else inputs

    def _wrapped(self, name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        way = "link" if name in ("lstat", "readlink") else "look"

        @functools.wraps(function)
        def wrapper(path: Any, *args: Any, **more: Any) -> Any:  # noqa: ANN401  # as in os
            if more.get("dir_fd") is None:
                follows = more.get("follow_symlinks", True)
                self._look(way if follows else "link", path)
            return function(path, *args, **more)

        return wrapper

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
        """Look for the program, and in the folders of PATH where another one could hide it."""
        search_path = (os.environ if environment is None else environment).get("PATH")
        shutil.which(os.fsdecode(program), path=search_path)  # what it examines is noted

    def _look(self, way: str, path: Any, *, read: bool = False) -> None:  # noqa: ANN401
        if not self._watching or getattr(self._own, "busy", False):
            return
        name = _absolute(path)
        if name is None or _is_below(name, self._ignored):
            return
        self._own.busy = True  # the paths that this method examines are not inputs
        try:
            self._settle()
            if (way, name) not in self._seen:
                self._seen[way, name] = STAMPS[way](name)
                self._read_at[way, name] = time.time_ns()
            if read and not _has_state(name):
                self.blind.add(name)
        finally:
            self._own.busy = False

    def _make(self, path: Any) -> None:  # noqa: ANN401  # the event's value
        name = _absolute(path)
        if name is None or _is_below(name, self._ignored) or _is_below(name, _STATELESS):
            return
        self._settle()
        for way in ("look", "link"):
            self._seen.pop((way, name), None)
        self._made.add(name)
        self._fresh.add(name)

    def _settle(self) -> None:
        """Record the state of new files before anything else is examined."""
        with self._settling:  # steps run in threads
            while self._fresh:
                name = self._fresh.pop()
                self._seen["look", name] = kind_stamp(name)
                self._read_at["look", name] = sys.maxsize


def _absolute(path: Any) -> str | None:  # noqa: ANN401  # also descriptors of open files
    if not isinstance(path, str | bytes | os.PathLike):
        return None
    return os.path.abspath(os.fsdecode(path))  # noqa: PTH100  # resolve() would follow links


def _is_below(path: str, folders: Iterable[str]) -> bool:
    return any(path == folder or path.startswith(f"{folder}/") for folder in folders)


def _is_in(path: str, places: Set[str]) -> bool:
    """Return whether `path` or a folder above it is one of `places`."""
    while path not in places:
        parent = os.path.dirname(path)  # noqa: PTH120  # thousands of paths
        if parent == path:
            return False
        path = parent
    return True


def _has_state(path: str) -> bool:
    """Return whether a stamp identifies the content at `path`."""
    numbers = stamp(path)
    if numbers is None:
        return True
    if not (stat.S_ISREG(numbers[0]) or stat.S_ISDIR(numbers[0])):
        return False
    return not _is_below(os.path.realpath(path), _STATELESS)


@dataclass(frozen=True)
class Memory:
    """The record of the last build with the same files, options and folders."""

    store: Store
    files: tuple[Path, ...]
    out: Path
    options: tuple[str, ...]
    """The options of the command line that affect the build."""

    @property
    def _path(self) -> Path:
        parts = [*map(str, self._places()), str(self.out.absolute()), str(Path.cwd())]
        key = hashlib.sha256(os.fsencode("\0".join([*parts, *self.options])))
        return self.store.root / "built" / f"{key.hexdigest()}.json"

    def _places(self) -> list[Path]:
        return [path.absolute() for path in self.files]

    def witness(self) -> Witness:
        """Return a witness for a build of this target.

        It ignores the store's own entries, unless the project is in the same folder as the store.
        """
        root = self.store.root.absolute()
        shared = any(path.parent == root for path in self._places())
        return Witness(() if shared else (str(root / name) for name in _STORED))

    def unchanged(self, environment: Mapping[str, str]) -> str | None:
        """Return the summary of the last build if a new build would have the same result."""
        try:
            record = json.loads(self._path.read_bytes())
            if record["code"] != own_state() or record["variables"] != _values(
                record["variables"], environment
            ):
                return None
            expected = {**record["inputs"], "look": record["inputs"]["look"] | record["outputs"]}
            same = all(
                _listed(STAMPS[way](path)) == seen
                for way, stamps in expected.items()
                for path, seen in stamps.items()
            )
            return str(record["summary"]) if same else None
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            return None

    def remember(
        self,
        witness: Witness,
        outputs: Iterable[Path],
        summary: str,
        environment: Mapping[str, str],
    ) -> None:
        """Record the inputs and outputs of a build, if stamps can show a later change of them."""
        self._path.unlink(missing_ok=True)
        observations = witness.inputs()
        if observations is None:
            return
        inputs: dict[str, dict[str, Stamp]] = {way: {} for way in STAMPS}
        for (way, path), seen in observations.items():
            inputs[way][path] = seen
        for path in (*_code_files(), _LIBRARIES):
            inputs["look"].setdefault(path, kind_stamp(path))
        document = {
            "code": own_state(),
            "variables": _values(self._names(inputs["look"]), environment),
            "inputs": inputs,
            "outputs": {str(path.absolute()): kind_stamp(path) for path in outputs},
            "summary": summary,
        }
        with suppress(PiimageError):  # on a full disk, the next build is not skipped
            self.store.write_beside(self._path, json.dumps(document).encode())

    def _names(self, paths: Iterable[str]) -> set[str]:
        """Return the names of environment variables that a build may depend on.

        These are the variables that helper programs get, and every word of a YAML file: a file that
        uses the value of a variable contains its name.
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
    numbers = stamp(path)
    return numbers is not None and stat.S_ISREG(numbers[0])


def _values(names: Iterable[str], environment: Mapping[str, str]) -> dict[str, str | None]:
    """Return the values of `names`, and of all variables that begin with PIIMAGE_."""
    own = (name for name in environment if name.startswith(_OWN_VARIABLES))
    return {name: environment.get(name) for name in sorted({*names, *own})}


def _listed(value: Stamp) -> list[int] | None:
    return None if value is None else list(value)


def _code_files() -> Iterator[str]:
    """Give the files of all imported modules, those of libraries included."""
    for module in list(sys.modules.values()):
        file = getattr(module, "__file__", None)
        if isinstance(file, str):
            yield file


def own_state() -> str:
    """Return a digest of the state of piimage's own code and data."""
    digest = hashlib.sha256(sys.version.encode())
    folders = [str(Path(__file__).parent), *(str(resources.path(name)) for name in _SHIPPED)]
    for path in _walk(folders):
        digest.update(os.fsencode(f"{path} {stamp(path)}\n"))
    return digest.hexdigest()


def _walk(folders: Sequence[str]) -> Iterator[str]:
    for top in folders:
        for folder, subfolders, names in os.walk(top):
            subfolders[:] = sorted(name for name in subfolders if name != "__pycache__")
            yield from (f"{folder}/{name}" for name in sorted(names))
