"""What `piimage test` reports of a file of the examples."""

from __future__ import annotations

import os
import subprocess
import xml.etree.ElementTree as ET
from pathlib import Path

from tests.system.conftest import PIIMAGE


def cases_of(folder: Path, store: Path, *files: str) -> dict[str, str]:
    """Return the failure of each service and check; empty if it passed."""
    results = folder / "results.xml"
    done = subprocess.run(
        [PIIMAGE, "test", *files, "--junit", results],
        env={**os.environ, "PIIMAGE_STORE": str(store)}, cwd=folder,
        capture_output=True, text=True, timeout=880, check=False,
    )  # fmt: skip
    assert results.is_file(), done.stdout + done.stderr
    found = ET.parse(results).getroot().iter("testcase")
    return {case.attrib["name"]: "".join(case.itertext()) for case in found}
