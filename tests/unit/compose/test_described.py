from __future__ import annotations

from pathlib import Path

import pytest

from piimage.compose.described import container_layers, files_layer, tree_files
from piimage.compose.rules import accounts
from piimage.config.rootfs import RootFileSystem, TreeFile
from piimage.errors import InputError


def test_a_folder_as_source_brings_all_its_files(tmp_path: Path) -> None:
    (tmp_path / "web" / "sub").mkdir(parents=True)
    (tmp_path / "web" / "page").write_text("p")
    (tmp_path / "web" / "sub" / "run").write_text("r")
    (tmp_path / "web" / "sub" / "run").chmod(0o700)
    described = TreeFile(path="srv", source="web", uid=7)
    files = {f.path: (f.content, f.mode, f.uid) for f in tree_files(described, tmp_path)}
    assert files == {"srv/page": (b"p", 0o644, 7), "srv/sub/run": (b"r", 0o755, 7)}


@pytest.mark.provokes("compose.no-source")
def test_a_source_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError) as caught:
        list(tree_files(TreeFile(path="a", source="missing"), tmp_path))
    assert caught.value.code == "compose.no-source"
    assert "missing" in str(caught.value)


def test_a_tree_of_nothing_has_no_layer(tmp_path: Path) -> None:
    assert container_layers("empty", RootFileSystem(), (), None, tmp_path) == ()


def test_a_user_has_the_password_field_and_the_line_in_shadow_that_it_asks_for(
    tmp_path: Path,
) -> None:
    users = [
        {"name": "keeper", "uid": 1, "gid": 1, "password": "$y$j9T$salt$hash"},
        {"name": "nobody", "uid": 2, "gid": 2, "shadow": False},
        {"name": "daemon", "uid": 3, "gid": 3},
    ]
    layer = files_layer("x", [RootFileSystem.model_validate({"users": users})], tmp_path)
    assert layer is not None
    written = {entry.path: b"".join(entry.content()) for entry in accounts(layer.rules.users, ())}
    assert written["etc/shadow"] == b"keeper:$y$j9T$salt$hash:::::::\ndaemon:*:::::::\n"
    assert b"nobody:x:2:2:" in written["etc/passwd"]
