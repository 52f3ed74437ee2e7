"""Cards for the benches that boot an emulated Pi."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import yaml

from piimage.store import default_root
from tests.system.boot.conftest import command_in


def built(folder: Path, appliance: Mapping[str, object]) -> Path:
    """Return the card of `appliance`, built in `folder`, which may have folders that it names."""
    (folder / "bench.yml").write_text(yaml.safe_dump(dict(appliance)))
    return built_of(folder, "bench.yml")


def built_of(folder: Path, *files: str) -> Path:
    """Return the card of `files` in `folder`, of which the last gives its name."""
    done = command_in(folder, default_root())(["build", *files, "-o", "out"])
    if done.returncode:
        raise SystemExit(done.stderr)
    return folder / "out" / f"{Path(files[-1]).stem}.img"
