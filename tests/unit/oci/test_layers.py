from __future__ import annotations

import gzip
import hashlib
import io
import subprocess
import tarfile
from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from piimage.errors import PiimageError
from piimage.oci import layers
from piimage.oci.layers import (
    OPAQUE_XATTR,
    Owner,
    Scan,
    _Scanner,
    layer_tree,
    lower_tree,
    scan,
)
from piimage.oci.pack import image_entries, pack_layer
from piimage.store import Store
from piimage.trees import Entry, Kind, file, folder, read_tar, symlink
from tests.examples import examples
from tests.unit.oci.unpacking import RUNNER, digest, mark, overlay, paths, tar_of, unpacked

TREE = [folder("etc"), file("etc/motd", b"hello")]


@pytest.mark.parametrize("packer", [None, ["gzip", "-n"], ["zstd", "-q"]])
def test_a_layer_of_any_compression_is_read(tmp_path: Path, packer: list[str] | None) -> None:
    tar = tar_of(*TREE)
    data = tar
    if packer:
        data = subprocess.run(packer, input=tar, capture_output=True, check=True).stdout
    path = tmp_path / "layer"
    path.write_bytes(data)
    found = scan(RUNNER, path, digest(tar), "test")
    tree = layer_tree(RUNNER, path, found, lower_tree([]), "test")
    assert [(e.path, b"".join(e.content())) for e in tree] == [("etc", b""), ("etc/motd", b"hello")]


def test_a_layer_of_several_streams_is_read_to_its_end(tmp_path: Path) -> None:
    # eStargz packs every file as a gzip member; zstd:chunked ends with a skippable frame
    # (RFC 8878, section 3.1.2).
    tar = tar_of(*TREE)
    halves = (tar[:700], tar[700:])
    frames = [
        subprocess.run(["zstd", "-q"], input=half, capture_output=True, check=True).stdout
        for half in halves
    ]
    skippable = b"\x50\x2a\x4d\x18" + (5).to_bytes(4, "little") + b"index"
    path = tmp_path / "layer"
    for data in (b"".join(map(gzip.compress, halves)), b"".join([*frames, skippable])):
        path.write_bytes(data)
        found = scan(RUNNER, path, digest(tar), "test")
        tree = layer_tree(RUNNER, path, found, lower_tree([]), "test")
        assert paths([*tree]) == ["etc", "etc/motd"]


def test_whiteouts_become_those_of_overlayfs(tmp_path: Path) -> None:
    lower = tar_of(folder("a"), file("a/x", b""), folder("b"), file("b/y", b""), file("c", b""))
    upper = tar_of(mark(".wh.c"), folder("a"), mark("a/.wh.x"), folder("b"), mark("b/.wh..wh..opq"))
    _, tree = unpacked(tmp_path / "l", lower, upper)
    found = {e.path: (e.kind, e.device, dict(e.xattrs)) for e in tree}
    assert found == {
        "a": (Kind.DIRECTORY, (0, 0), {}),
        "b": (Kind.DIRECTORY, (0, 0), {OPAQUE_XATTR: b"y"}),
        "a/x": (Kind.CHARACTER, (0, 0), {}),
        "c": (Kind.CHARACTER, (0, 0), {}),
    }


def test_a_whiteout_is_a_device_without_numbers_and_rights(tmp_path: Path) -> None:
    lower, upper = tar_of(folder("a"), file("a/b", b"x")), tar_of(mark("a/.wh.b"))
    sign = unpacked(tmp_path / "l", lower, upper)[1][-1]
    assert (sign.path, sign.kind, sign.mode, sign.device) == ("a/b", Kind.CHARACTER, 0, (0, 0))


def test_a_whiteout_in_a_folder_that_nothing_below_has_is_left_out(tmp_path: Path) -> None:
    (tree,) = unpacked(tmp_path / "l", tar_of(folder("a"), mark("a/.wh.x"), mark(".wh.y")))
    assert paths(tree) == ["a"]


def test_a_folder_removed_and_made_again_is_opaque(tmp_path: Path) -> None:
    lower = tar_of(folder("a"), file("a/old", b""))
    upper = tar_of(mark(".wh.a"), folder("a"), file("a/new", b""))
    _, tree = unpacked(tmp_path / "l", lower, upper)
    assert [(e.path, OPAQUE_XATTR in e.xattrs) for e in tree] == [("a", True), ("a/new", False)]


def test_a_path_through_a_lower_link_goes_where_it_leads(tmp_path: Path) -> None:
    lower = tar_of(folder("usr"), folder("usr/lib"), symlink("lib", "usr/lib"))
    _, tree = unpacked(tmp_path / "l", lower, tar_of(file("lib/libx.so", b"")))
    assert paths(tree) == ["usr", "usr/lib", "usr/lib/libx.so"]


def test_a_folder_stated_over_a_lower_link_replaces_it(tmp_path: Path) -> None:
    lower = tar_of(folder("usr"), folder("usr/lib"), symlink("lib", "usr/lib"))
    _, tree = unpacked(tmp_path / "l", lower, tar_of(folder("lib"), file("lib/x", b"")))
    assert paths(tree) == ["lib", "lib/x"]


def test_a_folder_that_is_only_used_keeps_its_mode_from_below(tmp_path: Path) -> None:
    lower = tar_of(folder("tmp", 0o1777), folder("home", 0o700, 5, 6))
    _, tree = unpacked(tmp_path / "l", lower, tar_of(file("tmp/x", b""), file("home/y", b"")))
    found = {e.path: (e.mode, e.uid, e.gid) for e in tree if e.kind is Kind.DIRECTORY}
    assert found == {"tmp": (0o1777, 0, 0), "home": (0o700, 5, 6)}


def test_the_last_of_two_members_counts(tmp_path: Path) -> None:
    tar = tar_of(file("a", b"1"), folder("b", 0o700), file("a", b"2"), folder("b", 0o711))
    (tree,) = unpacked(tmp_path / "l", tar)
    assert [(e.path, e.mode, b"".join(e.content())) for e in tree] == [
        ("a", 0o644, b"2"),
        ("b", 0o711, b""),
    ]


def test_an_opaque_root_hides_all_that_is_below(tmp_path: Path) -> None:
    lower = tar_of(folder("a"), file("a/x", b""), file("b", b""))
    upper = tar_of(mark(".wh..wh..opq"), folder("a"), file("n", b""))
    _, tree = unpacked(tmp_path / "l", lower, upper)
    assert [(e.path, e.kind, OPAQUE_XATTR in e.xattrs) for e in tree] == [
        ("a", Kind.DIRECTORY, True),
        ("n", Kind.FILE, False),
        ("b", Kind.CHARACTER, False),
    ]


def node(path: str, kind: Kind = Kind.CHARACTER) -> Entry:
    return Entry(path, kind, 0o666, device=(1, 1))


@pytest.mark.parametrize("kind", [Kind.CHARACTER, Kind.BLOCK])
def test_device_nodes_of_an_image_are_left_out(tmp_path: Path, kind: Kind) -> None:
    tar = tar_of(
        node("mem", kind), folder("d"), node("d/disk", kind), file("d/x", b"1"),
        Entry("d/again", Kind.HARD_LINK, link="d/disk"),
        Entry("d/thrice", Kind.HARD_LINK, link="d/again"),
        Entry("d/pipe", Kind.FIFO),
    )  # fmt: skip
    (tree,) = unpacked(tmp_path / "l", tar)
    assert paths(tree) == ["d", "d/x", "d/pipe"]


def test_what_a_device_node_replaced_stays_hidden(tmp_path: Path) -> None:
    lower = tar_of(file("a", b"old"), folder("b"), file("b/x", b"old"), symlink("c", "/b"))
    upper = tar_of(node("a"), node("b"), Entry("c", Kind.HARD_LINK, link="a"))
    first, second = unpacked(tmp_path / "l", lower, upper)
    assert [(e.path, e.kind, e.device) for e in second] == [
        (name, Kind.CHARACTER, (0, 0)) for name in ("a", "b", "c")
    ]
    assert overlay([first, second]) == {}


@pytest.mark.parametrize(
    ("members", "left"),
    [
        ([node("a"), file("a", b"1")], {"a": b"1"}),
        ([file("a", b"1"), node("a")], {}),
        ([symlink("a", "b"), node("a")], {}),
        ([folder("a", 0o700), node("a")], {}),
        ([node("a"), file("a", b"1"), Entry("b", Kind.HARD_LINK, link="a")], {"a": b"1", "b": b""}),
    ],
)
def test_the_last_of_a_device_node_and_another_member_counts(
    tmp_path: Path, members: list[Entry], left: dict[str, bytes]
) -> None:
    (tree,) = unpacked(tmp_path / "l", tar_of(*members))
    assert {e.path: b"".join(e.content()) for e in tree} == left


def test_a_link_to_what_replaced_a_device_node_is_there_for_the_layers_above(
    tmp_path: Path,
) -> None:
    lower = tar_of(node("a"), file("a", b"1"), Entry("b", Kind.HARD_LINK, link="a"))
    _, tree = unpacked(tmp_path / "l", lower, tar_of(mark(".wh.b")))
    assert paths(tree) == ["b"]


@pytest.mark.parametrize("replacement", [folder("l"), file("l", b"1")])
def test_a_link_that_its_own_layer_replaced_leads_nowhere(
    tmp_path: Path, replacement: Entry
) -> None:
    first = tar_of(folder("d"), symlink("l", "d"), replacement)
    _, tree = unpacked(tmp_path / "l", first, tar_of(file("l/x", b"")))
    assert paths(tree) == ["l", "l/x"]


def test_an_image_sets_no_attribute_of_overlayfs(tmp_path: Path) -> None:
    xattrs = {
        "trusted.overlay.redirect": b"/etc",
        "user.overlay.opaque": b"y",
        "security.capability": b"\x01",
        "security.selinux": b"x",
        "user.mime": b"m",
    }
    tar = tar_of(
        Entry("d", Kind.DIRECTORY, 0o755, xattrs=xattrs), Entry("f", Kind.FILE, xattrs=xattrs)
    )
    (tree,) = unpacked(tmp_path / "l", tar)
    kept = {"security.capability": b"\x01", "user.mime": b"m"}
    assert [dict(e.xattrs) for e in tree] == [kept, kept]


@pytest.mark.provokes("oci.diff-id")
def test_a_layer_that_is_not_its_diff_id_is_refused(tmp_path: Path) -> None:
    (tmp_path / "l").write_bytes(gzip.compress(tar_of(*TREE)))
    with pytest.raises(PiimageError, match="unpacks to sha256:"):
        scan(RUNNER, tmp_path / "l", digest(b""), "test")


@pytest.mark.provokes("oci.whiteout")
@pytest.mark.parametrize("name", [".wh.", ".wh..", ".wh...", "a/.wh..."])
def test_a_whiteout_of_no_file_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(PiimageError) as caught:
        unpacked(tmp_path / "l", tar_of(mark(name)))
    assert caught.value.code == "oci.whiteout"


@pytest.mark.provokes("oci.layer-damaged")
@pytest.mark.parametrize(
    "tar",
    [
        tar_of(file("a", b""), file("a/b", b"")),
        tar_of(Entry("a", Kind.HARD_LINK, link="b")),
        tar_of(folder("b"), Entry("a", Kind.HARD_LINK, link="b")),
        tar_of(symlink("l", "d"), folder("d"), file("d/x", b"1"), file("l/x", b"2")),
    ],
)
def test_a_tree_that_cannot_be_is_refused(tmp_path: Path, tar: bytes) -> None:
    with pytest.raises(PiimageError) as caught:
        unpacked(tmp_path / "l", tar)
    assert caught.value.code == "oci.layer-damaged"


def test_a_path_out_of_the_root_is_refused(tmp_path: Path) -> None:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        archive.addfile(tarfile.TarInfo("../etc/passwd"))
    with pytest.raises(PiimageError) as caught:
        unpacked(tmp_path / "l", out.getvalue())
    assert caught.value.code == "trees.escape"


def test_a_link_out_of_the_root_is_followed_inside_it(tmp_path: Path) -> None:
    tar = tar_of(symlink("up", "../../../.."), file("up/etc/passwd", b""))
    (tree,) = unpacked(tmp_path / "l", tar)
    assert paths(tree) == ["up", "etc", "etc/passwd"]


@pytest.mark.slow
@pytest.mark.provokes("oci.layer-bomb")
@pytest.mark.parametrize("packer", [["gzip", "-9n"], ["zstd", "-q"]])
def test_a_bomb_is_refused(tmp_path: Path, packer: list[str]) -> None:
    info = tarfile.TarInfo("zeros")
    info.size = 96 << 20
    data = info.tobuf() + bytes(info.size) + bytes(1024)
    packed = subprocess.run(packer, input=data, capture_output=True, check=True).stdout
    (tmp_path / "l").write_bytes(packed)
    with pytest.raises(PiimageError) as caught:
        scan(RUNNER, tmp_path / "l", digest(data), "test")
    assert caught.value.code == "oci.layer-bomb"


@pytest.mark.parametrize(("second", "refused"), [(50, False), (51, True)])
def test_the_files_of_a_layer_are_bounded_together(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, second: int, refused: bool
) -> None:
    monkeypatch.setattr("piimage.oci.layers.MAX_UNPACKED", 100)
    tar = tar_of(file("a", bytes(50)), file("b", bytes(second)))
    (tmp_path / "l").write_bytes(tar)
    with pytest.raises(PiimageError) if refused else nullcontext() as caught:
        scan(RUNNER, tmp_path / "l", digest(tar), "test")
    assert caught is None or caught.value.code == "oci.layer-bomb"


def scanned(
    *folders: str, links: Sequence[str] = (), files: Sequence[str] = (),
    removed: Sequence[str] = (), opaque: Sequence[str] = (),
) -> Scan:  # fmt: skip
    owners = {path: Owner(0o700) for path in folders}
    no: frozenset[str] = frozenset()
    return Scan(
        owners, dict.fromkeys(links, "t"), frozenset(files), no, frozenset(removed),
        frozenset(opaque), frozenset(),
    )  # fmt: skip


@pytest.mark.parametrize(
    ("upper", "folders", "links", "tops"),
    [
        (scanned("c"), {"a", "a/b", "c"}, {"l", "a/m"}, {"a", "l", "f", "c"}),
        (scanned(links=["a"]), set(), {"l", "a"}, {"a", "l", "f"}),
        (scanned(files=["a"]), set(), {"l"}, {"a", "l", "f"}),
        (scanned(removed=["a", "f"]), set(), {"l"}, {"l"}),
        (scanned("a", opaque=["a"]), {"a"}, {"l"}, {"a", "l", "f"}),
        (scanned("d", opaque=[""]), {"d"}, set(), {"d"}),
        (scanned("l"), {"a", "a/b", "l"}, {"a/m"}, {"a", "l", "f"}),
    ],
)
def test_what_two_layers_show_together(
    upper: Scan, folders: set[str], links: set[str], tops: set[str]
) -> None:
    """overlayfs.rst: whiteouts and opaque folders hide; a file or link in a folder's place too."""
    lower = scanned("a", "a/b", links=["l", "a/m"], files=["f"])
    shown = lower_tree([lower, upper])
    assert (set(shown.folders), set(shown.links), shown.tops) == (folders, links, tops)
    assert all(owner == Owner(0o700) for owner in shown.folders.values())


@pytest.mark.provokes("trees.too-many")
def test_the_names_of_a_layer_are_bounded_together() -> None:
    """16 MiB: paths, links, what attributes hold, and each folder that is used, once."""
    limit = 16 * 1024 * 1024
    reader = _Scanner("test")
    reader.take(0, Entry("a/b/c", Kind.SYMLINK, link="x" * 100))  # 5 + 100, and a/b, and a
    xattrs = {"user.a": b"1234567", "user.b": b"12"}
    reader.take(1, Entry("a/d", Kind.DIRECTORY, xattrs=xattrs))  # 3 and 9
    reader.take(2, Entry("e", Kind.SYMLINK, link="x" * (limit - 122)))  # and 1
    with pytest.raises(PiimageError, match="more than 16777216 bytes in total"):
        reader.take(3, file("f", b""))


def test_a_scan_is_kept_as_json() -> None:
    """Equal owners are written once."""
    owner = Owner(0o700, 1, 2, {"user.a": b"\xff"})
    kept = Scan(
        {"a": owner, "b": owner, "c": Owner()}, {"l": "a"}, frozenset("gf"), frozenset("ji"),
        frozenset("nm"), frozenset("qp"), frozenset([7, 3]),
    )  # fmt: skip
    assert kept.encode() == (
        b'{"files":["f","g"],"folders":{"a":0,"b":0,"c":1},"implied":["i","j"],"links":{"l":"a"},'
        b'"opaque":["p","q"],"owners":[[448,1,2,{"user.a":"/w=="}],[493,0,0,{}]],'
        b'"removed":["m","n"],"superseded":[3,7]}'
    )
    assert Scan.decode(kept.encode()) == kept


def test_attributes_that_an_image_may_set() -> None:
    """Not those of overlayfs, and of security only what gives a program capabilities."""
    names = ("user.a", "trusted.b", "security.capability", "security.selinux", "system.acl",
             "trusted.overlay.opaque", "user.overlay.opaque")  # fmt: skip
    kept = layers.kept_xattrs(Entry("a", Kind.FILE, xattrs=dict.fromkeys(names, b"x")))
    assert kept == dict.fromkeys(("user.a", "trusted.b", "security.capability"), b"x")


@pytest.mark.parametrize("packer", [["gzip", "-n"], ["zstd", "-q"]])
def test_a_layer_cut_short_is_refused(tmp_path: Path, packer: list[str]) -> None:
    tar = tar_of(*(file(f"f{n}", hashlib.sha256(b"%d" % n).digest() * 9) for n in range(99)))
    packed = subprocess.run(packer, input=tar, capture_output=True, check=True).stdout
    (tmp_path / "l").write_bytes(packed[: len(packed) // 2])
    with pytest.raises(PiimageError) as caught:
        scan(RUNNER, tmp_path / "l", digest(tar), "test")
    assert caught.value.code == "oci.layer-damaged"


@settings(max_examples=examples(50), suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_a_mangled_layer_is_read_or_refused(tmp_path: Path, data: st.DataObject) -> None:
    whole = bytearray(tar_of(*TREE, mark("etc/.wh.x"), symlink("l", "etc")))
    if data.draw(st.booleans()):
        whole = bytearray(gzip.compress(bytes(whole)))
    for _ in range(data.draw(st.integers(1, 5))):
        whole[data.draw(st.integers(0, len(whole) - 1))] = data.draw(st.integers(0, 255))
    (tmp_path / "l").write_bytes(whole)
    try:
        scan(RUNNER, tmp_path / "l", digest(b""), "fuzz")
    except PiimageError as error:
        assert error.code.partition(".")[0] in ("oci", "trees")


# --- and the other way round


def test_a_tree_becomes_a_layer_and_comes_back(store: Store) -> None:
    tree = [
        Entry("a", Kind.DIRECTORY, 0o750, 1, 2, xattrs={OPAQUE_XATTR: b"y"}),
        file("a/f", b"f"),
        Entry("gone", Kind.CHARACTER, 0),
        folder("d"),
        Entry("d/gone", Kind.CHARACTER, 0),
    ]
    packed = pack_layer(store, tree)
    path = store.verified(packed.descriptor.blob)
    with gzip.open(path) as stream:
        names = [entry.path for entry in read_tar(stream, "test")]  # type: ignore[arg-type]
    assert names == ["a", "a/.wh..wh..opq", "a/f", ".wh.gone", "d", "d/.wh.gone"]
    lower = layers.lower_tree([_scanned(store, [folder("a"), folder("d"), file("gone", b"")])])
    found = scan(RUNNER, path, packed.diff_id, "test")
    back = list(layer_tree(RUNNER, path, found, lower, "test"))
    assert sorted(paths(back)) == ["a", "a/f", "d", "d/gone", "gone"]
    assert dict(back[0].xattrs) == {OPAQUE_XATTR: b"y"}
    assert (back[0].mode, back[0].uid, back[0].gid) == (0o750, 1, 2)


def _scanned(store: Store, tree: list[Entry]) -> Scan:
    packed = pack_layer(store, tree)
    return scan(RUNNER, store.path(packed.descriptor.blob), packed.diff_id, "test")


def test_equal_trees_are_equal_layers_without_time_or_name(store: Store) -> None:
    first, second = pack_layer(store, TREE), pack_layer(store, TREE)
    assert first == second
    header = store.path(first.descriptor.blob).read_bytes()[:10]
    assert header[:4] == b"\x1f\x8b\x08\x00"
    assert header[4:8] == bytes(4)


def test_entries_without_whiteouts_are_left_as_they_are() -> None:
    assert list(image_entries(TREE)) == TREE
