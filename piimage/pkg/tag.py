"""The tag of a container folder, made from its content as LinuxKit's ``pkg show-tag`` does.

In a git checkout it is the hash of the folder's tree in HEAD. If the folder differs from HEAD
(untracked files count, ignored files do not), ``-dirty-`` and seven digits of the content's hash
follow. Outside a checkout it is the hash of the content.
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
"""The placeholder of the content's hash in a tag, as in LinuxKit's ``--tag``."""

_LENGTH: Final = 40
_DIRTY_LENGTH: Final = 7


def content_hash(runner: Runner, paths: Sequence[Path]) -> str:
    """Return the hash of the content of `paths`: a folder, and what it uses from outside.

    Raises PiimageError ``pkg.git`` if git cannot read the checkout, MissingTool
    ``run.missing-tool`` if there is a checkout and no git.
    """
    if not all(_in_checkout(path) for path in paths):
        return _digest(paths, [_walked(path) for path in paths])
    files = [_tracked(runner, path) for path in paths]
    trees = [_tree(runner, path) for path in paths]
    if not all(trees):
        return _digest(paths, files)
    clean = trees[0] if len(trees) == 1 else _joined(paths, trees)
    if not any(_differs(runner, path) for path in paths):
        return clean
    return f"{clean}-dirty-{_digest(paths, files)[:_DIRTY_LENGTH]}"


def _in_checkout(path: Path) -> bool:
    absolute = path.absolute()
    return any((folder / ".git").exists() for folder in (absolute, *absolute.parents))


def _tree(runner: Runner, path: Path) -> str:
    """Return the hash of the tree (or file) `path` in HEAD; "" if HEAD does not have it."""
    name = "" if path.is_dir() else path.name
    words = ["rev-parse", "--verify", "-q", f"HEAD:./{name}"]
    result = _git(runner, path, words, accept=(0, 1, 128))
    return result.text.strip() if result.status == 0 else ""


def _differs(runner: Runner, path: Path) -> bool:
    # git would look into submodules by their own settings, so each is checked by itself.
    options = ["--porcelain", "-z", "--untracked-files=all", "--ignore-submodules=dirty"]
    if _git(runner, path, ["status", *options, "--", _within(path)]).stdout:
        return True
    inner = [entry for entry in _listed(runner, path) if _is_checkout(entry)]
    return any(_differs(runner, checkout) for checkout in inner)


def _tracked(runner: Runner, path: Path) -> list[Path]:
    """Return the files of `path` that git does not ignore; all files, if it ignores `path`."""
    files: list[Path] = []
    for entry in _listed(runner, path):
        if entry.is_symlink() or entry.is_file():
            files.append(entry)
        elif _is_checkout(entry):
            files += _tracked(runner, entry)
    return sorted(files) or _walked(path)


def _listed(runner: Runner, path: Path) -> set[Path]:
    """Return the paths that git lists in `path`: files, and folders that are other checkouts."""
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
    result = Git(runner, folder).run(words, accept=range(256))
    if result.status not in accept:
        lines = result.stderr.decode(errors="replace").strip().splitlines()
        raise PiimageError(
            "pkg.git",
            f"git cannot read the checkout: {lines[0] if lines else result.status}",
            place=str(path),
            hint="repair the checkout (git status shows the error), or give a tag: --tag TAG",
        )
    return result


def _walked(path: Path) -> list[Path]:
    if not path.is_dir():
        return [path]
    return sorted(_files_below(path))


def _files_below(top: Path) -> Iterator[Path]:
    for folder, folders, names in os.walk(top):
        folders[:] = [name for name in folders if name not in ("__pycache__", ".git")]
        yield from (Path(folder) / name for name in names)


def _digest(paths: Sequence[Path], files: Sequence[Iterable[Path]]) -> str:
    """Return the hash of names, kinds and contents, whatever the owners, times and places."""
    digest = hashlib.sha256()
    for path, own in zip(paths, files, strict=True):
        top = path if path.is_dir() else path.parent
        digest.update(f"{_relation(paths[0], path)}\0".encode())
        for file in own:
            line = f"{file.relative_to(top)}\0{_content(file)}\0"
            digest.update(line.encode("utf-8", "surrogateescape"))
    return digest.hexdigest()[:_LENGTH]


def _content(path: Path) -> str:
    if path.is_symlink():
        return f"link {os.readlink(path)}"  # noqa: PTH115  # as it is written in the link
    kind = "program" if path.stat().st_mode & stat.S_IXUSR else "file"
    return f"{kind} {hashlib.sha256(path.read_bytes()).hexdigest()}"


def _joined(paths: Sequence[Path], trees: Sequence[str]) -> str:
    lines = (f"{_relation(paths[0], p)} {tree}\n" for p, tree in zip(paths, trees, strict=True))
    return hashlib.sha256("".join(lines).encode()).hexdigest()[:_LENGTH]


def _relation(folder: Path, path: Path) -> str:
    return os.path.relpath(path.absolute(), folder.absolute())
