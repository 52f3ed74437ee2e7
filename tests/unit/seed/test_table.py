"""The tables in docs/network.md name every key that the readers know."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from piimage_seed import network_config, user_data

PAGE = Path(__file__).parents[3] / "docs" / "network.md"
MODULES = (user_data, network_config)


def documented() -> set[str]:
    """Return the words in code of the tables in the page's last section."""
    section = PAGE.read_text().partition("\n## Settings on the first partition\n")[2]
    assert "\n## " not in section
    rows = [line for line in section.splitlines() if line.startswith("|")]
    codes = re.findall(r"`([^`]+)`", "\n".join(rows))
    return {word for code in codes for word in re.split(r"[\]:{\[ ,]+", code)}


def taken(path: Path) -> set[str]:
    """Return the keys in the tables of takers of a module's source."""
    return set(re.findall(r'^ {12,16}"([a-z0-9_-]+)": ', path.read_text(), re.MULTILINE))


@pytest.mark.parametrize("name", ["user_data", "network_config"])
def test_every_key_that_is_read_is_in_a_table(name: str) -> None:
    (module,) = (module for module in MODULES if module.__name__.endswith(name))
    keys = taken(Path(module.__file__))
    assert {"user_data": "timezone", "network_config": "access-points"}[name] in keys
    assert keys - {"ssh-authorized-keys"} <= documented()


def test_every_key_that_is_ignored_is_in_a_table() -> None:
    ignored = user_data.IGNORED | user_data.IGNORED_OF_USERS | network_config.IGNORED
    assert ignored <= documented()
    assert documented() >= user_data.IGNORED_PACKAGES
