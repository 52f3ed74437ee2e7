"""Trees as data (appliance/README.md) turned into layers."""

from __future__ import annotations

import stat
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from piimage.compose.layers import FilesLayer, Layer, Package, PackagesLayer
from piimage.compose.python import Python
from piimage.compose.rules import Bundle, File, Folder, Group, Rules, User
from piimage.config.rootfs import RootFileSystem, TreeFile
from piimage.debian.package import Package as LockedPackage
from piimage.errors import InputError
from piimage.trees import MERGED

_CERTIFICATES = Bundle(
    "etc/ssl/certs/ca-certificates.crt", "usr/share/ca-certificates/mozilla/*.crt"
)
_MERGED_LINKS = {name: MERGED[name] for name in ("bin", "lib", "sbin")}


def package(locked: LockedPackage) -> Package:
    """Return what a layer needs of a locked package."""
    return Package(f"{locked.name}_{locked.version}", locked.blob)


def packages_layer(
    name: str, tree: RootFileSystem, packages: Sequence[LockedPackage], *, lowest: bool
) -> PackagesLayer:
    """Return the layer of a tree's packages; the `lowest` has the links of a merged /usr."""
    links = {**(_MERGED_LINKS if lowest else {}), **tree.links, **_applets(tree)}
    rules = Rules(
        drop=tree.drop,
        keep=tree.keep,
        links=links,
        folders=tuple(Folder(f.path, f.permissions, f.uid, f.gid) for f in tree.folders),
        bundles=(_CERTIFICATES,) if tree.certificates else (),
    )
    return PackagesLayer(name, tuple(package(one) for one in packages), rules)


def files_layer(
    name: str, trees: Iterable[RootFileSystem], folder: Path, more: Sequence[File] = ()
) -> FilesLayer | None:
    """Return the layer of the accounts of all `trees` and the files of the last; None if empty."""
    trees = tuple(trees)
    users = tuple(
        User(u.name, u.uid, u.gid, u.gecos, u.home, u.shell, u.password, u.shadow)
        for tree in trees
        for u in tree.users
    )
    groups = tuple(Group(g.name, g.gid, g.members) for tree in trees for g in tree.groups)
    files = tuple(one for file in trees[-1].files for one in tree_files(file, folder))
    if not (users or groups or files or more):
        return None
    return FilesLayer(name, Rules(files=(*files, *more), users=users, groups=groups))


def tree_files(described: TreeFile, folder: Path) -> Iterator[File]:
    """Give the file that is described, or all files below the folder that is its source.

    Raises InputError ``compose.no-source`` when it is not there.
    """
    owner = (described.uid, described.gid)
    if described.source is None:
        text = (described.contents or "").encode()
        yield File(described.path, text, described.permissions, *owner)
        return
    source = folder / described.source
    if not source.exists():
        raise InputError(
            "compose.no-source", f"the file {described.source} is not there", place=str(folder),
            hint="write it, or mend `source:`",
        )  # fmt: skip
    if source.is_file():
        yield File(described.path, source.read_bytes(), described.permissions, *owner)
        return
    yield from folder_files(source, described.path, owner)


def folder_files(source: Path, target: str, owner: tuple[int, int] = (0, 0)) -> Iterator[File]:
    """Give all files below `source`, to lie below `target`; programs stay programs."""
    for path in sorted(source.rglob("*")):
        if path.is_file() and "__pycache__" not in path.parts:
            mode = 0o755 if path.stat().st_mode & stat.S_IXUSR else 0o644
            yield File(f"{target}/{path.relative_to(source)}", path.read_bytes(), mode, *owner)


def _applets(tree: RootFileSystem) -> dict[str, str]:
    if tree.applets is None:
        return {}
    return {
        f"{tree.applets.folder}/{name}": f"/{tree.applets.program}" for name in tree.applets.names
    }


def container_layers(
    name: str,
    tree: RootFileSystem,
    packages: Sequence[LockedPackage],
    base: tuple[RootFileSystem, Sequence[LockedPackage]] | None,
    folder: Path,
    python: Python | None = None,
) -> tuple[Layer, ...]:
    """Return the layers of a container folder, lowest first: base, packages, Python, files.

    What changes most often lies uppermost, and equal lower layers are shared between containers.
    """
    layers: list[Layer] = []
    trees = [tree]
    own = list(packages)
    if base is not None:
        base_tree, base_packages = base
        layers.append(packages_layer(f"base {tree.base}", base_tree, base_packages, lowest=True))
        trees.insert(0, base_tree)
        below = {one.key for one in base_packages}
        own = [one for one in packages if one.key not in below]
    if own or tree.links or tree.applets or tree.folders:
        layers.append(packages_layer(name, tree, own, lowest=not layers))
    own_python, files = python.layers() if python is not None else ((), ())
    layers += own_python
    upper = files_layer(name, trees, folder, files)
    return (*layers, upper) if upper is not None else tuple(layers)
