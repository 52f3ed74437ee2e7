"""What `files:` means: LinuxKit's rules of paths said twice, owners, and folders on the way."""

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


def said(*files: dict[str, object], **sections: object) -> Overlay:
    return overlay_of(Appliance.model_validate({"files": files, **sections}), OWN)


def test_the_later_of_two_counts_also_across_files(tmp_path: Path) -> None:
    (tmp_path / "a.yml").write_text("files: [{path: etc/motd, contents: base, mode: '0644'}]")
    (tmp_path / "b.yml").write_text("files: [{path: /etc/motd, contents: site, mode: '0640'}]")
    (file,) = overlay_of(load([tmp_path / "a.yml", tmp_path / "b.yml"]), OWN).files
    assert file == File("etc/motd", b"site", 0o640)


@pytest.mark.parametrize("again", ["/usr/lib/x", "lib/x", "usr//lib/./x"])
def test_one_path_has_many_spellings(again: str) -> None:
    found = said({"path": "usr/lib/x", "contents": "1"}, {"path": again, "contents": "2"})
    assert [(one.path, one.content) for one in found.files] == [("usr/lib/x", b"2")]


def test_the_later_counts_whatever_kind_it_is() -> None:
    found = said(
        {"path": "etc/a", "contents": "x"},
        {"path": "etc/a", "symlink": "b"},
        {"path": "etc/c", "symlink": "d"},
        {"path": "etc/c", "directory": True},
    )
    assert (found.files, dict(found.links)) == ((), {"etc/a": "b"})
    assert found.folders == (Folder("etc/c", 0o700),)


def test_an_optional_source_that_is_not_there_takes_no_place(tmp_path: Path) -> None:
    absent = {"path": "etc/a", "source": str(tmp_path / "none"), "optional": True}
    found = said({"path": "etc/a", "contents": "x"}, absent)
    assert [one.content for one in found.files] == [b"x"]


def test_a_container_s_name_is_the_id_that_linuxkit_gives_it() -> None:
    # moby/build.go: 100 and up, over onboot, onshutdown, services.
    found = said(
        {"path": "etc/x", "contents": "x", "uid": "redis", "gid": "boot"},
        {"path": "etc/y", "contents": "y", "uid": "root", "gid": 7},
        onboot=[{"name": "boot", "image": "a"}],
        onshutdown=[{"name": "end", "image": "a"}],
        services=[{"name": "redis", "image": "a"}],
    )
    assert [(one.uid, one.gid) for one in found.files] == [(102, 100), (0, 7)]


@pytest.mark.parametrize(
    ("mode", "folder"),
    [(None, 0o700), ("0644", 0o755), ("0640", 0o750), ("0604", 0o705), ("4711", 0o4711)],
)
def test_a_folder_on_the_way_is_as_the_file_is(mode: str | None, folder: int) -> None:
    found = said({"path": "etc/a/b/x", "contents": "x", "mode": mode, "uid": 5, "gid": 6})
    assert found.folders == (Folder("etc/a", folder, 5, 6), Folder("etc/a/b", folder, 5, 6))


def test_the_first_file_makes_the_folder_and_a_folder_that_is_said_wins() -> None:
    found = said(
        {"path": "etc/a/x", "contents": "x"},
        {"path": "etc/a/y", "contents": "x", "mode": "0644"},
        {"path": "etc/b/x", "contents": "x"},
        {"path": "etc/b", "directory": True, "mode": "0755", "uid": 9},
    )
    assert found.folders == (Folder("etc/a", 0o700), Folder("etc/b", 0o755, 9))


def test_folders_of_the_system_stay_as_they_are() -> None:
    found = said(
        {"path": "etc/piimage/x", "contents": "x"},
        {"path": "usr/lib/x", "contents": "x"},
        {"path": "root/x", "contents": "x", "mode": "0644"},
        {"path": "tmp/x", "contents": "x", "mode": "0644"},
    )
    assert found.folders == (Folder("root", 0o700), Folder("tmp", 0o1777))


def test_a_link_or_a_file_takes_the_place_of_the_system_s_own() -> None:
    over = said({"path": "etc/hostname", "symlink": "/run/x"})
    assert [one.path for one in without(OWN, over)] == ["etc/piimage/clock"]


def test_folders_above_links_and_accounts_of_the_file_reach_the_layer(store: Store) -> None:
    rules = Rules(
        files=(File("etc/passwd", b"mine"),),
        links={"etc/a/l": "x"},
        folders=(Folder("etc/a", 0o700, 5, 6), Folder("etc/b", 0o711)),
        users=(User(name="root", uid=0, gid=0),),
    )
    layer = FilesLayer("x", rules)
    tree = {one.path: one for one in layer.tree(Job(store, Runner(), events.ignore, {}))}
    assert (tree["etc/a"].mode, tree["etc/a"].uid, tree["etc/a"].gid) == (0o700, 5, 6)
    assert tree["etc/b"].mode == 0o711
    assert tree["etc/a/l"].kind is Kind.SYMLINK
    assert b"".join(tree["etc/passwd"].content()) == b"mine"
