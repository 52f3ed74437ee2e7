"""Layers of the trees that YAML files describe (appliance/README.md, "Trees as data")."""

from __future__ import annotations

import stat
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from piimage.compose.layers import DebFile, FilesLayer, Layer, PackagesLayer
from piimage.compose.python import Python
from piimage.compose.rules import Bundle, File, Folder, Rules
from piimage.config.rootfs import RootFileSystem, TreeFile
from piimage.debian.package import Package
from piimage.errors import InputError
from piimage.trees import MERGED

_CERTIFICATES = Bundle(
    "etc/ssl/certs/ca-certificates.crt", "usr/share/ca-certificates/mozilla/*.crt"
)
_MERGED_LINKS = {name: MERGED[name] for name in ("bin", "lib", "sbin")}


def deb_file(package: Package) -> DebFile:
    """Return the .deb of a locked package."""
    return DebFile(f"{package.name}_{package.version}", package.blob)


def packages_layer(
    name: str, tree: RootFileSystem, packages: Sequence[Package], *, lowest: bool
) -> PackagesLayer:
    """Return the layer of a tree's packages; the `lowest` one has the links of a merged /usr."""
    links = {**(_MERGED_LINKS if lowest else {}), **tree.links, **_applets(tree)}
    rules = Rules(
        drop=tree.drop,
        keep=tree.keep,
        links=links,
        folders=tuple(Folder(f.path, f.permissions, f.uid, f.gid) for f in tree.folders),
        bundles=(_CERTIFICATES,) if tree.certificates else (),
    )
    return PackagesLayer(name, tuple(map(deb_file, packages)), rules)


def files_layer(
    name: str, trees: Iterable[RootFileSystem], folder: Path, more: Sequence[File] = ()
) -> FilesLayer | None:
    """Return the layer of `more`, the accounts of all `trees`, and the files of the last one.

    `folder` is the folder of the last tree's YAML file. Returns None if the layer would be empty.
    """
    trees = tuple(trees)
    users = tuple(user for tree in trees for user in tree.users)
    groups = tuple(group for tree in trees for group in tree.groups)
    files = tuple(file for described in trees[-1].files for file in tree_files(described, folder))
    if not (users or groups or files or more):
        return None
    return FilesLayer(name, Rules(files=(*files, *more), users=users, groups=groups))


def tree_files(described: TreeFile, folder: Path) -> Iterator[File]:
    """Yield the described file; if its source is a folder, all files in that.

    Raises InputError ``compose.no-source`` if the source does not exist.
    """
    owner = (described.uid, described.gid)
    if described.source is None:
        text = (described.contents or "").encode()
        yield File(described.path, text, described.permissions, *owner)
        return
    source = folder / described.source
    if not source.exists():
        raise InputError(
            "compose.no-source", f"{described.source} does not exist", place=str(folder),
            hint="create the file, or correct `source:`",
        )  # fmt: skip
    if source.is_file():
        yield File(described.path, source.read_bytes(), described.permissions, *owner)
        return
    yield from folder_files(source, described.path, owner)


def folder_files(source: Path, target: str, owner: tuple[int, int] = (0, 0)) -> Iterator[File]:
    """Yield all files in `source`, to be laid into `target`; executable files stay executable."""
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
    packages: Sequence[Package],
    base: tuple[RootFileSystem, Sequence[Package]] | None,
    folder: Path,
    python: Python | None = None,
) -> tuple[Layer, ...]:
    """Return the layers of a container folder, lowest first: base, packages, Python, files.

    The order lets containers share the lower layers, and leaves these as they are when a file
    changes.
    """
    layers: list[Layer] = []
    trees = [tree]
    own = list(packages)
    if base is not None:
        base_tree, base_packages = base
        layers.append(packages_layer(f"base {tree.base}", base_tree, base_packages, lowest=True))
        trees.insert(0, base_tree)
        in_base = {package.key for package in base_packages}
        own = [package for package in packages if package.key not in in_base]
    if own or tree.links or tree.applets or tree.folders:
        layers.append(packages_layer(name, tree, own, lowest=not layers))
    python_layers, files = python.layers() if python is not None else ((), ())
    layers += python_layers
    upper = files_layer(name, trees, folder, files)
    return (*layers, upper) if upper is not None else tuple(layers)
