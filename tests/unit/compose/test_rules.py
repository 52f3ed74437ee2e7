from __future__ import annotations

from piimage.compose.rules import Rules, accounts
from piimage.config.rootfs import Group, User


def test_what_is_kept_wins_over_what_is_dropped() -> None:
    rules = Rules(drop=("usr/bin/**",), keep=("usr/bin/ctr",))
    assert rules.wants("usr/bin/ctr")
    assert not rules.wants("usr/bin/containerd-shim")
    assert rules.wants("etc/motd")


def test_accounts_have_no_password() -> None:
    made = {
        entry.path: (entry.mode, b"".join(entry.content()).decode())
        for entry in accounts(
            [
                User(name="root", uid=0, gid=0, gecos="root", home="/root", shell="/bin/sh"),
                User(name="sensor", uid=990, gid=991),
            ],
            [Group(name="root", gid=0), Group(name="i2c", gid=991, members=("sensor",))],
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
