from __future__ import annotations

import pytest

from piimage.compose.rules import Group, Rules, User, accounts
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


def test_what_is_kept_wins_over_what_is_dropped() -> None:
    rules = Rules(drop=("usr/bin/**",), keep=("usr/bin/ctr",))
    assert rules.wants("usr/bin/ctr")
    assert not rules.wants("usr/bin/containerd-shim")
    assert rules.wants("etc/motd")


def test_accounts_have_no_password() -> None:
    made = {
        entry.path: (entry.mode, b"".join(entry.content()).decode())
        for entry in accounts(
            [User("root", 0, 0, "root", "/root", "/bin/sh"), User("sensor", 990, 991)],
            [Group("root", 0), Group("i2c", 991, ("sensor",))],
        )
    }
    assert made == {
        "etc/passwd": (
            0o644,
            "root:x:0:0:root:/root:/bin/sh\nsensor:x:990:991::/nonexistent:/usr/sbin/nologin\n",
        ),
        "etc/shadow": (0o600, "root:*:::::::\nsensor:*:::::::\n"),
        "etc/group": (0o644, "root:x:0:\ni2c:x:991:sensor\n"),
    }
