"""`piimage doctor`: the host tools that are missing, and the exact fix."""

from __future__ import annotations

import shutil

from piimage import tools
from piimage.errors import MissingTool
from piimage.run import clean_environment

EXAMPLE = "Example: piimage doctor"


def doctor() -> None:
    """Say which host tools are missing and how to get them; exit 3 if any is."""
    path = clean_environment()["PATH"]
    missing = sorted(name for name in tools.PACKAGES if shutil.which(name, path=path) is None)
    for name in sorted(tools.PACKAGES):
        print(f"{'missing' if name in missing else 'ok':8} {name}")
    if missing:
        packages = " ".join(sorted({tools.PACKAGES[name] for name in missing}))
        raise MissingTool(
            "doctor.missing-tools",
            f"{len(missing)} host tools are missing: {', '.join(missing)}",
            hint=f"install them with: apt-get install {packages}",
        )
