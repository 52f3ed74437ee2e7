"""The rules of `files:`: repeated paths, owners, and parent folders, as in LinuxKit."""

from __future__ import annotations

from pathlib import Path

import pytest

from piimage import events
from piimage.compose.layers import FilesLayer
from piimage.compose.rules import File, Folder, Rules
from piimage.config.load import load
from piimage.config.models import Appliance
from piimage.config.rootfs import User
from piimage.plan.files import Overlay, overlay_of, without
from piimage.run import Runner
from piimage.steps import Job
from piimage.store import Store
from piimage.trees import Kind

OWN = (File("etc/hostname", b"pi"), File("etc/piimage/clock", b"0"))


def laid(*files: dict[str, object], **sections: object) -> Overlay:
    return overlay_of(Appliance.model_validate({"files": files, **sections}), OWN)


def test_the_last_entry_of_a_path_counts_also_across_files(tmp_path: Path) -> None:
    (tmp_path / "a.yml").write_text("files: [{path: etc/motd, contents: base, mode: '0644'}]")
    (tmp_path / "b.yml").write_text("files: [{path: /etc/motd, contents: site, mode: '0640'}]")
    (file,) = overlay_of(load([tmp_path / "a.yml", tmp_path / "b.yml"]), OWN).files
    assert file == File("etc/motd", b"site", 0o640)


@pytest.mark.parametrize("again", ["/usr/lib/x", "lib/x", "usr//lib/./x"])
def test_a_path_has_several_spellings(again: str) -> None:
    overlay = laid({"path": "usr/lib/x", "contents": "1"}, {"path": again, "contents": "2"})
    assert [(file.path, file.content) for file in overlay.files] == [("usr/lib/x", b"2")]


def test_the_last_entry_counts_whatever_its_kind() -> None:
    overlay = laid(
        {"path": "etc/a", "contents": "x"},
        {"path": "etc/a", "symlink": "b"},
        {"path": "etc/c", "symlink": "d"},
        {"path": "etc/c", "directory": True},
    )
    assert (overlay.files, dict(overlay.links)) == ((), {"etc/a": "b"})
    assert overlay.folders == (Folder("etc/c", 0o700),)


def test_an_entry_whose_optional_source_is_missing_replaces_nothing(tmp_path: Path) -> None:
    absent = {"path": "etc/a", "source": str(tmp_path / "none"), "optional": True}
    overlay = laid({"path": "etc/a", "contents": "x"}, absent)
    assert [file.content for file in overlay.files] == [b"x"]


def test_a_container_s_name_means_the_id_that_linuxkit_gives_it() -> None:
    # moby/build.go: 100 and up, over onboot, onshutdown, services.
    overlay = laid(
        {"path": "etc/x", "contents": "x", "uid": "redis", "gid": "boot"},
        {"path": "etc/y", "contents": "y", "uid": "root", "gid": 7},
        onboot=[{"name": "boot", "image": "a"}],
        onshutdown=[{"name": "end", "image": "a"}],
        services=[{"name": "redis", "image": "a"}],
    )
    assert [(file.uid, file.gid) for file in overlay.files] == [(102, 100), (0, 7)]


@pytest.mark.parametrize(
    ("mode", "folder"),
    [(None, 0o700), ("0644", 0o755), ("0640", 0o750), ("0604", 0o705), ("4711", 0o4711)],
)
def test_a_parent_folder_has_the_owner_and_mode_of_the_file(mode: str | None, folder: int) -> None:
    overlay = laid({"path": "etc/a/b/x", "contents": "x", "mode": mode, "uid": 5, "gid": 6})
    assert overlay.folders == (Folder("etc/a", folder, 5, 6), Folder("etc/a/b", folder, 5, 6))


def test_the_first_file_determines_a_parent_folder_unless_it_has_an_entry() -> None:
    overlay = laid(
        {"path": "etc/a/x", "contents": "x"},
        {"path": "etc/a/y", "contents": "x", "mode": "0644"},
        {"path": "etc/b/x", "contents": "x"},
        {"path": "etc/b", "directory": True, "mode": "0755", "uid": 9},
    )
    assert overlay.folders == (Folder("etc/a", 0o700), Folder("etc/b", 0o755, 9))


def test_folders_of_the_system_stay_as_they_are() -> None:
    overlay = laid(
        {"path": "etc/piimage/x", "contents": "x"},
        {"path": "usr/lib/x", "contents": "x"},
        {"path": "root/x", "contents": "x", "mode": "0644"},
        {"path": "tmp/x", "contents": "x", "mode": "0644"},
    )
    assert overlay.folders == (Folder("root", 0o700), Folder("tmp", 0o1777))


def test_a_link_or_a_file_replaces_the_system_s_own() -> None:
    overlay = laid({"path": "etc/hostname", "symlink": "/run/x"})
    assert [file.path for file in without(OWN, overlay)] == ["etc/piimage/clock"]


def test_folders_above_links_and_accounts_of_the_file_reach_the_layer(store: Store) -> None:
    rules = Rules(
        files=(File("etc/passwd", b"mine"),),
        links={"etc/a/l": "x"},
        folders=(Folder("etc/a", 0o700, 5, 6), Folder("etc/b", 0o711)),
        users=(User(name="root", uid=0, gid=0),),
    )
    layer = FilesLayer("x", rules)
    tree = {entry.path: entry for entry in layer.tree(Job(store, Runner(), events.ignore, {}))}
    assert (tree["etc/a"].mode, tree["etc/a"].uid, tree["etc/a"].gid) == (0o700, 5, 6)
    assert tree["etc/b"].mode == 0o711
    assert tree["etc/a/l"].kind is Kind.SYMLINK
    assert b"".join(tree["etc/passwd"].content()) == b"mine"
