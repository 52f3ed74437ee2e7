"""Wheels made for tests, honest ones and others."""

from __future__ import annotations

import base64
import hashlib
import zipfile
from collections.abc import Mapping
from pathlib import Path

NAME = "thing-1.0-py3-none-any.whl"
INFO = "thing-1.0.dist-info"
METADATA = b"Metadata-Version: 2.1\nName: thing\nVersion: 1.0\n"
WHEEL = b"Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n"


def digest(data: bytes) -> str:
    found = hashlib.sha256(data).digest()
    return "sha256=" + base64.urlsafe_b64encode(found).rstrip(b"=").decode()


def recorded(files: Mapping[str, bytes]) -> bytes:
    rows = [f"{path},{digest(data)},{len(data)}" for path, data in files.items()]
    return "\n".join([*rows, f"{INFO}/RECORD,,", ""]).encode()


def wheel(
    folder: Path,
    files: Mapping[str, bytes] | None = None,
    *,
    name: str = NAME,
    record: bytes | None = None,
    modes: Mapping[str, int] | None = None,
) -> Path:
    """Write a wheel of `files` (and the metadata that they lack) with a RECORD of all of them."""
    content = {f"{INFO}/WHEEL": WHEEL, f"{INFO}/METADATA": METADATA, **(files or {})}
    content[f"{INFO}/RECORD"] = recorded(content) if record is None else record
    path = folder / name
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for inner, data in content.items():
            member = zipfile.ZipInfo(inner)
            member.external_attr = (modes or {}).get(inner, 0o100644) << 16
            member.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(member, data)
    return path
