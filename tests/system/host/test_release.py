"""The shell steps of the release's workflow, run one after another in a clone."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import yaml

from tests.system.conftest import ROOT


def test_a_tag_becomes_wheels_and_notes(tmp_path: Path) -> None:
    clone = tmp_path / "clone"
    # What is committed, and what is about to be.
    files = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(files, cwd=ROOT, capture_output=True, check=True).stdout.split(b"\0")
    for name in map(os.fsdecode, filter(None, listed)):
        if (ROOT / name).is_file():
            (clone / name).parent.mkdir(parents=True, exist_ok=True)
            (clone / name).write_bytes((ROOT / name).read_bytes())
    changelog = clone / "CHANGELOG.md"
    text, count = re.subn("^## Unreleased$", "## 9.8.7", changelog.read_text(), flags=re.MULTILINE)
    assert count == 1
    changelog.write_text(text)

    # A stand-in for GitHub's program, which notes what it was asked for.
    tools = tmp_path / "tools"
    tools.mkdir()
    (tools / "gh").write_text(f'#!/bin/sh\nprintf "%s\\n" "$@" >{tmp_path}/asked\n')
    (tools / "gh").chmod(0o755)
    (tools / "python3").symlink_to(sys.executable)
    environment = {**os.environ, "PATH": f"{tools}:{os.environ['PATH']}"}
    environment["GITHUB_REF_NAME"] = "v9.8.7"

    workflow = yaml.safe_load((ROOT / ".github/workflows/release.yml").read_text())
    steps = [step for step in workflow["jobs"]["wheels"]["steps"] if "run" in step]
    assert len(steps) == 7
    for step in steps:
        # GitHub's default shell on Linux.
        command = ["bash", "-e", "-c", step["run"]]
        done = subprocess.run(
            command, cwd=clone, env=environment, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, (step["name"], done.stdout, done.stderr)

    wheels = [
        "piimage_builder-9.8.7-py3-none-any.whl", "piimage_chipmodels-9.8.7-py3-none-any.whl",
        "piimage_sensorkit-9.8.7-py3-none-any.whl",
    ]  # fmt: skip
    assert sorted(path.name for path in (clone / "dist").iterdir()) == wheels
    assert (clone / "notes.md").read_text().startswith("### ")
    arguments = (tmp_path / "asked").read_text().split()
    assert arguments[:5] == ["release", "create", "v9.8.7", "--verify-tag", "--notes-file"]
    assert arguments[6:] == ["dist/SHA256SUMS", *(f"dist/{name}" for name in wheels)]
