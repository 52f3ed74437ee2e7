"""Random layers, against a model of unpacking and a model of overlayfs."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from piimage.trees import Entry, Kind, file, folder
from tests.examples import examples
from tests.unit.oci.unpacking import mark, overlay, paths, tar_of, unpacked

NAMES = st.sampled_from("abc")
PATHS = st.lists(NAMES, min_size=1, max_size=3).map("/".join)


@st.composite
def members(draw: st.DrawFn) -> Entry:
    path = draw(PATHS)
    kind = draw(st.sampled_from(["file", "file", "folder", "folder", "whiteout", "opaque"]))
    parent, slash, name = path.rpartition("/")
    if kind == "file":
        return file(path, draw(st.binary(min_size=1, max_size=2)))
    if kind == "folder":
        return folder(path, draw(st.sampled_from([0o755, 0o700, 0o711])))
    if kind == "whiteout":
        return mark(f"{parent}{slash}.wh.{name}")
    return mark(f"{path}/.wh..wh..opq")


def unpack(root: dict[str, object], tar: Sequence[Entry]) -> dict[str, object]:
    """What an engine has on disk after it unpacked one more layer: removals first, then files."""
    state = dict(root)

    def drop(path: str) -> None:
        for known in [k for k in state if k == path or k.startswith(f"{path}/")]:
            del state[known]

    def parents(path: str) -> None:
        parts = path.split("/")
        for depth in range(1, len(parts)):
            parent = "/".join(parts[:depth])
            if not isinstance(state.get(parent), int):
                drop(parent)
                state[parent] = 0o755

    for entry in tar:
        parent, slash, name = entry.path.rpartition("/")
        if name == ".wh..wh..opq":
            for known in [k for k in state if k.startswith(f"{parent}/")]:
                del state[known]
        elif name.startswith(".wh."):
            drop(f"{parent}{slash}{name[4:]}")
    for entry in tar:
        name = entry.path.rpartition("/")[2]
        if name == ".wh..wh..opq" or name.startswith(".wh."):
            parents(entry.path)
        elif entry.kind is Kind.DIRECTORY:
            parents(entry.path)
            if not isinstance(state.get(entry.path), int):
                drop(entry.path)
            state[entry.path] = entry.mode
        else:
            parents(entry.path)
            drop(entry.path)
            state[entry.path] = b"".join(entry.content())
    return state


def consistent(tar: Sequence[Entry]) -> bool:
    """Whether no member lies under a file of the same layer."""
    files = {e.path for e in tar if e.kind is Kind.FILE and ".wh." not in e.path}
    used = [e.path.replace(".wh..wh..opq", "x") for e in tar]
    under = any(p.startswith(f"{f}/") for f in files for p in used)
    twice = len({e.path for e in tar}) < len(tar)
    return not under and not twice


@settings(max_examples=examples(100), suppress_health_check=list(HealthCheck), deadline=None)
@given(st.lists(st.lists(members(), max_size=6).filter(consistent), min_size=1, max_size=3))
def test_overlayfs_shows_what_unpacking_gives(tmp_path: Path, stack: list[list[Entry]]) -> None:
    expected: dict[str, object] = {}
    for tar in stack:
        expected = unpack(expected, tar)
    made = unpacked(tmp_path / "l", *(tar_of(*tar) for tar in stack))
    for tree in made:
        assert len(set(paths(tree))) == len(tree)
    assert overlay(made) == expected
