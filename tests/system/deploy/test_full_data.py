"""A try whose /data has become full: the Pi still notes how it ended."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

from piimage import resources
from tests.system.conftest import ROOT


def test_a_full_data_does_not_hide_how_a_try_ended(tmp_path: Path) -> None:
    agent = resources.path("appliance") / "agent" / "lib"
    done = subprocess.run(
        ["unshare", "-rm", sys.executable, "-m", "tests.system.deploy.full_data", tmp_path,
         "PIIMAGE_SLOT_PARTITION='2'\n"],
        cwd=ROOT, env={**os.environ, "PYTHONPATH": str(agent)}, stdout=subprocess.PIPE, check=True,
        timeout=120,
    )  # fmt: skip
    cause = "the new version ended while its services were starting"
    assert json.loads(done.stdout) == {"free": 0, "state": "undone", "cause": cause}
