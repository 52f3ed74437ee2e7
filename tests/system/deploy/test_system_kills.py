"""A few kills in the middle of system updates; the module `system_kills` makes as many as asked."""

from __future__ import annotations

import random
from pathlib import Path

from tests.system.deploy.system_kills import kill_agents

COUNT = 5


def test_a_version_boots_whenever_the_agent_is_killed(tmp_path: Path) -> None:
    found = list(kill_agents(tmp_path, COUNT, random.Random(1)))
    assert [kill.runs in ("old", "new") for kill in found] == [True] * COUNT
