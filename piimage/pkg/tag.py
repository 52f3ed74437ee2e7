"""The tag of a container folder, made from its content as LinuxKit's ``pkg show-tag`` does.

In a git checkout it is the hash of the folder's tree in HEAD; what differs from HEAD (untracked
files included, ignored ones not) adds ``-dirty-`` and seven digits of the content's hash. Elsewhere
it is the hash of the content alone.
"""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Final

from piimage.errors import PiimageError
from piimage.launch import Git
from piimage.run import Completed, Runner

HASH: Final = "{{.Hash}}"
"""What stands for the content's hash in a tag, as in LinuxKit's ``--tag``."""

_LENGTH: Final = 40
_DIRTY_LENGTH: Final = 7


def content_hash(runner: Runner, paths: Sequence[Path]) -> str:
    """Return the hash for the content of `paths`: a folder, and what it uses from outside.

    Raises PiimageError ``pkg.git`` when there is a checkout that git cannot read, MissingTool
    ``run.missing-tool`` when there is one and no git.
    """
    if not all(_in_checkout(path) for path in paths):
        return _digest(paths, [_walked(path) for path in paths])
    listed = [_listed(runner, path) for path in paths]
    trees = [_tree(runner, path) for path in paths]
    if not all(trees):
        return _digest(paths, listed)
    clean = trees[0] if len(trees) == 1 else _joined(paths, trees)
    if not any(_differs(runner, path) for path in paths):
        return clean
    return f"{clean}-dirty-{_digest(paths, listed)[:_DIRTY_LENGTH]}"


def _in_checkout(path: Path) -> bool:
    absolute = path.absolute()
    return any((folder / ".git").exists() for folder in (absolute, *absolute.parents))


def _tree(runner: Runner, path: Path) -> str:
    """Return the hash of the tree (or file) `path` in HEAD; "" if HEAD does not have it."""
    name = "" if path.is_dir() else path.name
    done = _git(runner, path, ["rev-parse", "--verify", "-q", f"HEAD:./{name}"], accept=(0, 1, 128))
    return done.text.strip() if done.status == 0 else ""


def _differs(runner: Runner, path: Path) -> bool:
    # Into submodules git would go by their own settings: each is looked at by itself.
    how = ["--porcelain", "-z", "--untracked-files=all", "--ignore-submodules=dirty"]
    if _git(runner, path, ["status", *how, "--", _within(path)]).stdout:
        return True
    below = [one for one in _named(runner, path) if _is_checkout(one)]
    return any(_differs(runner, one) for one in below)


def _listed(runner: Runner, path: Path) -> list[Path]:
    """Return the files of `path` that git does not ignore; all, if it ignores the whole."""
    found: list[Path] = []
    for one in _named(runner, path):
        if one.is_symlink() or one.is_file():
            found.append(one)
        elif _is_checkout(one):
            found += _listed(runner, one)
    return sorted(found) or _walked(path)


def _named(runner: Runner, path: Path) -> set[Path]:
    """Return what git lists below `path`: files, and folders that are checkouts of their own."""
    words = ["ls-files", "-z", "--cached", "--others", "--exclude-standard", "--", _within(path)]
    names = _git(runner, path, words).stdout.split(b"\0")
    top = path if path.is_dir() else path.parent
    return {top / os.fsdecode(name) for name in names if name}


def _is_checkout(path: Path) -> bool:
    return not path.is_symlink() and (path / ".git").exists()


def _within(path: Path) -> str:
    return "." if path.is_dir() else f":(literal){path.name}"


def _git(
    runner: Runner, path: Path, words: Sequence[str], accept: Sequence[int] = (0,)
) -> Completed:
    folder = path if path.is_dir() else path.parent
    done = Git(runner, folder).run(words, accept=range(256))
    if done.status not in accept:
        said = done.stderr.decode(errors="replace").strip().splitlines()
        raise PiimageError(
            "pkg.git",
            f"git cannot say what state the folder is in: {said[0] if said else done.status}",
            place=str(path),
            hint="mend the checkout (git status says the same), or give the tag: --tag TAG",
        )
    return done


def _walked(path: Path) -> list[Path]:
    if not path.is_dir():
        return [path]
    return sorted(_files_below(path))


def _files_below(top: Path) -> Iterator[Path]:
    for folder, below, names in os.walk(top):
        below[:] = [name for name in below if name not in ("__pycache__", ".git")]
        yield from (Path(folder) / name for name in names)


def _digest(paths: Sequence[Path], files: Sequence[Iterable[Path]]) -> str:
    """Return the hash of names, kinds and contents; owners, times and places do not count."""
    digest = hashlib.sha256()
    for path, below in zip(paths, files, strict=True):
        top = path if path.is_dir() else path.parent
        digest.update(f"{_relation(paths[0], path)}\0".encode())
        for one in below:
            content = _content(one)
            digest.update(f"{one.relative_to(top)}\0{content}\0".encode("utf-8", "surrogateescape"))
    return digest.hexdigest()[:_LENGTH]


def _content(path: Path) -> str:
    if path.is_symlink():
        return f"link {os.readlink(path)}"  # noqa: PTH115  # as text, whatever it is
    kind = "program" if path.stat().st_mode & stat.S_IXUSR else "file"
    return f"{kind} {hashlib.sha256(path.read_bytes()).hexdigest()}"


def _joined(paths: Sequence[Path], trees: Sequence[str]) -> str:
    lines = (f"{_relation(paths[0], p)} {tree}\n" for p, tree in zip(paths, trees, strict=True))
    return hashlib.sha256("".join(lines).encode()).hexdigest()[:_LENGTH]


def _relation(folder: Path, path: Path) -> str:
    return os.path.relpath(path.absolute(), folder.absolute())
