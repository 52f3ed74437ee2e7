from __future__ import annotations

from piimage.compose.rules import Group, Rules, User, accounts


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
