from __future__ import annotations

import pytest

from piimage.patterns import matcher


@pytest.mark.parametrize(
    ("pattern", "path", "matches"),
    [
        ("usr/share/**", "usr/share/doc/x/copyright", True),
        ("usr/share/**", "usr/share", False),
        ("usr/share/doc", "usr/share/doc/x", True),
        ("usr/bin/*", "usr/bin/sh", True),
        ("usr/*/sh", "usr/local/bin/sh", False),
        ("usr/lib/*/libnss_compat*", "usr/lib/aarch64-linux-gnu/libnss_compat.so.2", True),
        ("usr/bin/?h", "usr/bin/sh", True),
        ("usr/bin/?h", "usr/bin/bash", False),
        ("usr/bin/[", "usr/bin/[", True),
        ("**", "anything/at/all", True),
        ("/etc", "etc/passwd", True),
    ],
)
def test_patterns(pattern: str, path: str, matches: bool) -> None:
    assert matcher((pattern,))(path) is matches


def test_no_pattern_matches_nothing() -> None:
    assert not matcher(())("")
    assert not matcher(())("a")
