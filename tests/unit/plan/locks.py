"""Locks whose packages are names only: enough to plan with, nothing to build with."""

from __future__ import annotations

import hashlib

from piimage.boards import Board
from piimage.config.models import Appliance
from piimage.debian.package import Package
from piimage.lock import Lock
from piimage.lock.model import LockedRoot
from piimage.locking.folders import entries, folder_of
from piimage.locking.requests import requests


def locked(name: str) -> Package:
    digest = hashlib.sha256(name.encode()).hexdigest()
    return Package(name, "1", "arm64", f"pool/{name}.deb", 1, digest, name, "1", "trixie")


def lock_of(appliance: Appliance, board: Board) -> Lock:
    """Each root is given exactly the packages that it asks for."""
    folders = [folder for entry in entries(appliance) if (folder := folder_of(entry))]
    asked = requests(appliance, board, folders)
    roots = []
    packages: dict[str, Package] = {}
    for one in asked:
        names = [name.partition("/")[0] for name in one.packages]
        packages |= {package.key: package for package in map(locked, names)}
        keys = tuple(locked(name).key for name in names)
        roots.append(LockedRoot(one.root, one.packages, one.without, "arm64", keys))
    return Lock(roots=tuple(roots), packages=tuple(packages.values()))
