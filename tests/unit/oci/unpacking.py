"""Layers of an image, as overlayfs gets them, with their contents read."""

from __future__ import annotations

import gzip
import hashlib
from collections.abc import Sequence
from pathlib import Path

from piimage.oci.layers import OPAQUE_XATTR, Scan, layer_tree, lower_tree, scan
from piimage.run import Runner
from piimage.trees import Entry, Kind, file, tar_chunks

RUNNER = Runner()


def digest(data: bytes) -> str:
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


def unpacked(path: Path, *tars: bytes) -> list[list[Entry]]:
    """The overlay layers for image layers whose tars are `tars`, contents read."""
    scans: list[Scan] = []
    result = []
    for tar in tars:
        path.write_bytes(gzip.compress(tar))
        scans.append(Scan.decode(scan(RUNNER, path, digest(tar), "test").encode()))
        tree = layer_tree(RUNNER, path, scans[-1], lower_tree(scans[:-1]), "test")
        result.append([_held(entry) for entry in tree])
    return result


def _held(entry: Entry) -> Entry:
    data = b"".join(entry.content())
    return Entry(
        entry.path, entry.kind, entry.mode, entry.uid, entry.gid, len(data), entry.link,
        entry.device, entry.xattrs, lambda: (data,),
    )  # fmt: skip


def tar_of(*entries: Entry) -> bytes:
    return b"".join(tar_chunks(entries))


def paths(entries: Sequence[Entry]) -> list[str]:
    return [entry.path for entry in entries]


def mark(path: str) -> Entry:
    return file(path, b"")


def overlay(stack: Sequence[Sequence[Entry]]) -> dict[str, object]:
    """What the kernel shows of `stack`, lowest first."""
    state: dict[str, object] = {}
    for tree in stack:
        for entry in tree:
            hides = entry.kind is not Kind.DIRECTORY or OPAQUE_XATTR in entry.xattrs
            if hides or not isinstance(state.get(entry.path), int):
                for known in [k for k in state if k.startswith(f"{entry.path}/")]:
                    del state[known]
            if entry.kind is Kind.CHARACTER:
                state.pop(entry.path, None)
            elif entry.kind is Kind.DIRECTORY:
                state[entry.path] = entry.mode
            else:
                state[entry.path] = b"".join(entry.content())
    return state
