"""A signed archive of packages, as the tests of `debian` have it."""

from __future__ import annotations

from tests.unit.debian.conftest import archive, folder, key, mirrors

__all__ = ["archive", "folder", "key", "mirrors"]
