"""Layers merged to one tree; the rules are those of the kernel's overlayfs."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable

from piimage import events
from piimage.formats.flat import Reader, flat, flat_image, scans
from piimage.oci.layers import OPAQUE_XATTR
from piimage.oci.layout import Layout
from piimage.run import Runner
from piimage.steps import Builder
from piimage.store import Store
from piimage.trees import Entry, Kind, file, folder, symlink
from tests.unit.oci.images import image

WHITEOUT = Kind.CHARACTER


def gone(path: str) -> Entry:
    return Entry(path, WHITEOUT, 0)


def opaque(path: str) -> Entry:
    return Entry(path, Kind.DIRECTORY, 0o755, xattrs={OPAQUE_XATTR: b"y"})


def link(path: str, target: str) -> Entry:
    return Entry(path, Kind.HARD_LINK, link=target)


def layers(*trees: Iterable[Entry]) -> list[Reader]:
    return [lambda tree=list(tree): iter(tree) for tree in trees]  # type: ignore[misc]


def shown(*trees: Iterable[Entry]) -> dict[str, bytes | str | int]:
    """What is visible: a file's content, a link's target, a folder's mode."""
    found: dict[str, bytes | str | int] = {}
    for entry in flat(layers(*trees)):
        assert entry.path not in found, entry.path
        assert OPAQUE_XATTR not in entry.xattrs
        match entry.kind:
            case Kind.DIRECTORY:
                found[entry.path] = entry.mode
            case Kind.FILE:
                found[entry.path] = b"".join(entry.content())
            case Kind.HARD_LINK:
                assert entry.link in found, "a link comes after its target"
                found[entry.path] = found[entry.link]
            case _:
                found[entry.path] = entry.link
    return found


def test_an_upper_file_replaces_a_lower_one_and_its_folder_keeps_the_last_mode() -> None:
    lower = [folder("etc", 0o700), file("etc/a", b"1"), file("etc/b", b"1")]
    upper = [folder("etc", 0o755), file("etc/b", b"2")]
    assert shown(lower, upper) == {"etc": 0o755, "etc/a": b"1", "etc/b": b"2"}


def test_a_whiteout_hides_a_file_and_all_of_a_folder() -> None:
    lower = [folder("a"), folder("a/b"), file("a/b/c", b"1"), file("a2", b"1")]
    assert shown(lower, [gone("a")]) == {"a2": b"1"}
    assert shown(lower, [gone("a")], [folder("a"), file("a/n", b"3")]) == {
        "a2": b"1", "a": 0o755, "a/n": b"3",
    }  # fmt: skip


def test_an_opaque_folder_shows_only_its_own_layer() -> None:
    lower = [folder("a"), file("a/x", b"1"), folder("a/b")]
    assert shown(lower, [opaque("a"), file("a/y", b"2")]) == {"a": 0o755, "a/y": b"2"}


def test_a_link_in_the_place_of_a_folder_hides_what_was_below_it_and_the_reverse() -> None:
    lower = [folder("a"), file("a/x", b"1")]
    assert shown(lower, [symlink("a", "b")]) == {"a": "b"}
    assert shown([symlink("a", "b")], [folder("a")]) == {"a": 0o755}


def test_a_hard_link_keeps_its_content_when_an_upper_layer_replaces_its_target() -> None:
    lower = [file("x", b"1"), link("y", "x"), link("z", "x")]
    assert shown(lower) == {"x": b"1", "y": b"1", "z": b"1"}
    assert shown(lower, [file("x", b"2")]) == {"x": b"2", "y": b"1", "z": b"1"}
    assert shown(lower, [gone("x"), file("y", b"2")]) == {"y": b"2", "z": b"1"}
    assert shown(lower, [gone("x"), gone("y"), gone("z")]) == {}


def test_folders_come_before_everything_that_is_in_them() -> None:
    kinds = [e.kind for e in flat(layers([file("f", b"")], [folder("z"), folder("z/y")]))]
    assert kinds == [Kind.DIRECTORY, Kind.DIRECTORY, Kind.FILE]


def test_an_image_is_read_with_the_whiteouts_of_its_layers(store: Store, runner: Runner) -> None:
    lower = [folder("etc"), file("etc/motd", b"hello"), file("etc/issue", b"old")]
    made = image(Layout(store), lower, [folder("etc"), file("etc/.wh.issue", b"")])
    job = Builder(store, runner, events.ignore).build(*scans(made))
    tree = {entry.path: b"".join(entry.content()) for entry in flat_image(made, job)}
    assert tree == {"etc": b"", "etc/motd": b"hello"}
    assert hashlib.sha256(tree["etc/motd"]).hexdigest().startswith("2cf24d")
