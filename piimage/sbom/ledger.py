"""The origins of the files of a layer, recorded while the layer is written."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Final

from piimage.sbom import licences
from piimage.trees import Entry, Kind, Tree

_COPYRIGHTS: Final = "usr/share/doc/"
_MAX_COPYRIGHT: Final = 4 << 20


@dataclass(frozen=True)
class Record:
    """A regular file: its size, its SHA-256 digest, and its package (``NAME_VERSION``)."""

    size: int
    sha256: str
    origin: str


@dataclass(frozen=True)
class Page:
    """The records of a ledger: files by path, and licences (SPDX) by package name."""

    files: Mapping[str, Record]
    licences: Mapping[str, str]

    @staticmethod
    def decode(data: bytes) -> Page:
        """Decode the output of `Ledger.encode`."""
        fields = json.loads(data)
        files = {path: Record(*values) for path, values in fields["files"].items()}
        return Page(files, fields["licences"])


class Ledger:
    """Records the files of a tree while it is streamed into a layer."""

    def __init__(self) -> None:
        self._files: dict[str, tuple[int, str, str]] = {}
        self._licences: dict[str, str] = {}

    def noting(self, tree: Tree) -> Iterator[Entry]:
        """Yield `tree` unchanged; a file is recorded once its content was read to the end."""
        for entry in tree:
            yield self._noted(entry) if entry.kind is Kind.FILE else entry

    def encode(self) -> bytes:
        """Return the records as JSON, for the store."""
        fields = {"files": self._files, "licences": self._licences}
        return json.dumps(fields, sort_keys=True, separators=(",", ":")).encode()

    def _noted(self, entry: Entry) -> Entry:
        def content() -> Iterator[bytes]:
            digest, size = hashlib.sha256(), 0
            text = bytearray() if _is_copyright(entry) else None
            for chunk in entry.content():
                digest.update(chunk)
                size += len(chunk)
                if text is not None:
                    text.extend(chunk)
                yield chunk
            self._files[entry.path] = (size, digest.hexdigest(), entry.origin)
            if text is not None and (licence := licences.expression(bytes(text))):
                self._licences[entry.path.split("/")[-2]] = licence

        return replace(entry, content=content)


def _is_copyright(entry: Entry) -> bool:
    path = entry.path
    return (
        path.startswith(_COPYRIGHTS)
        and path.endswith("/copyright")
        and path.count("/") == _COPYRIGHTS.count("/") + 1
        and entry.size <= _MAX_COPYRIGHT
    )
