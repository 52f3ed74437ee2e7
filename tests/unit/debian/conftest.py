from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from piimage.debian.index import Archive
from piimage.debian.mirror import Mirrors, choose
from piimage.run import Runner
from piimage.store import Store
from tests.unit.debian.makers import NOW, ArchiveFolder, Signer, signer


@pytest.fixture(scope="session")
def key() -> Iterator[Signer]:
    with signer() as session_key:
        yield session_key


@pytest.fixture
def folder(tmp_path: Path, key: Signer) -> ArchiveFolder:
    root = tmp_path / "mirror"
    root.mkdir()
    return ArchiveFolder(root, key)


@pytest.fixture
def mirrors(folder: ArchiveFolder) -> Mirrors:
    return choose(f"{folder.root},{folder.root}")


@pytest.fixture
def archive(store: Store, runner: Runner, mirrors: Mirrors, key: Signer) -> Archive:
    return Archive(store, runner, mirrors, key.keyring, NOW.timestamp)
