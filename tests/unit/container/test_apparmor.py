"""Which profile confines a container, and which profiles of the user's are taken."""

from __future__ import annotations

from typing import Any

import pytest

from piimage.config.container import ContainerConfig, linuxkit_defaults, merge, secure_defaults
from piimage.container.apparmor import DEFAULT, DEFAULT_SYS, own_profile, shipped_profile
from piimage.errors import PiimageError


def chosen(base: ContainerConfig | None = None, **fields: Any) -> str | None:
    own = ContainerConfig.model_validate(fields)
    return shipped_profile(merge(base or secure_defaults(), own))


@pytest.mark.parametrize(
    ("fields", "profile"),
    [
        ({}, DEFAULT),
        ({"apparmor": "default"}, DEFAULT),
        ({"apparmor": "unconfined"}, None),
        ({"capabilities": ["CAP_NET_ADMIN", "CAP_SYS_RAWIO"]}, DEFAULT),
        ({"capabilities": ["CAP_SYS_ADMIN"]}, None),
        ({"capabilities": ["all"]}, None),
        ({"capabilities": ["all"], "apparmor": "default"}, DEFAULT),
        ({"binds": ["/sys/class/leds:/sys/class/leds"]}, DEFAULT_SYS),
        ({"binds": ["/sys/class/leds:/leds"]}, DEFAULT),
        ({"binds": ["/a:/system"]}, DEFAULT),
        ({"mounts": [{"type": "sysfs"}]}, DEFAULT_SYS),
    ],
)
def test_the_default_holds_unless_the_container_administers_or_has_a_mount_in_sys(
    fields: dict[str, Any], profile: str | None
) -> None:
    assert chosen(**fields) == profile
    assert chosen(linuxkit_defaults(), **fields) == profile


@pytest.mark.parametrize(
    "header",
    [
        "profile own {",
        "profile own flags=(attach_disconnected, mediate_deleted) {",
        "profile  own{",
    ],
)
def test_an_own_profile_gets_a_name_that_changes_with_its_text(header: str) -> None:
    text = f"# mine\n{header}\n  file,\n  signal peer=@{{profile_name}},\n}}\n"
    first, second = own_profile(text.encode()), own_profile(text.encode() + b"# more\n")
    assert first.name.startswith("piimage-own-") and second.name.startswith("piimage-own-")
    assert first.name != second.name
    assert first.text == text.replace("own", first.name, 1)
    assert own_profile(text.encode()) == first


@pytest.mark.provokes("oci.apparmor")
@pytest.mark.parametrize(
    ("text", "why"),
    [
        (b"\xff", "it is not UTF-8 text"),
        (b"", "it has to be one profile"),
        (b"file,\n", "it has to be one profile"),
        (b"profile a {\n}\nprofile b {\n}\n", "it has to be one profile"),
        (b"/usr/bin/x {\n}\nprofile b {\n}\n", "it has to be one profile"),
        (b"profile a /usr/bin/x {\n}\n", "it has to be one profile"),
        (b"/usr/bin/x {\n}\n", "it has to be one profile"),
        (b"profile a {\n  #include <abstractions/base>\n}\n", "line 2 includes another file"),
        (b"profile a {\n  include if exists <local/x>\n}\n", "line 2 includes another file"),
        (b"abi <abi/4.0>,\nprofile a {\n}\n", "line 1 includes another file"),
    ],
)
def test_a_profile_that_reads_other_files_or_is_not_one_is_refused(text: bytes, why: str) -> None:
    with pytest.raises(PiimageError, match=why):
        own_profile(text)
