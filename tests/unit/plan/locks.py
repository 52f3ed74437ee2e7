"""Locks whose packages are names only, to plan with but not to build with."""

from __future__ import annotations

import hashlib

from piimage.board import Board
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
    """A lock in which each root has exactly the packages that it requests."""
    folders = [folder for entry in entries(appliance) if (folder := folder_of(entry))]
    roots = []
    packages: dict[str, Package] = {}
    for request in requests(appliance, board, folders):
        names = [name.partition("/")[0] for name in request.packages]
        packages |= {package.key: package for package in map(locked, names)}
        keys = tuple(locked(name).key for name in names)
        roots.append(LockedRoot(request.root, request.packages, request.without, "arm64", keys))
    return Lock(roots=tuple(roots), packages=tuple(packages.values()))
