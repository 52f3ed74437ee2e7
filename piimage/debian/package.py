"""One binary package of the archive, as the lock pins it."""

from __future__ import annotations

from dataclasses import dataclass

from piimage.store import Blob


@dataclass(frozen=True)
class Package:
    """A .deb: its identity, its path in the archive, and the expected digest.

    `path` is relative to the archive's root (``pool/main/b/busybox/...``); `suite` is the suite
    whose index lists the package, and implies the archive; `source` and `source_version` name the
    source package. Maintainer, home page and description are not pinned: they are read from the
    .deb itself (`deb.control_fields`).
    """

    name: str
    version: str
    architecture: str
    path: str
    size: int
    sha256: str
    source: str
    source_version: str
    suite: str

    @property
    def blob(self) -> Blob:
        """The content of the .deb, for the store."""
        return Blob(self.sha256, self.size)

    @property
    def key(self) -> str:
        """``name:architecture``, as in dpkg: unique in a lock."""
        return f"{self.name}:{self.architecture}"

    @property
    def component(self) -> str:
        """The archive's component (main, non-free-firmware, ...), from the path."""
        parts = self.path.split("/")
        return parts[1] if parts[0] == "pool" and len(parts) > 4 else "main"

    def __str__(self) -> str:
        return f"{self.name} {self.version} ({self.architecture})"
