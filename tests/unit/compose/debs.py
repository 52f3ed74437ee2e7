"""Small real .debs, made by dpkg-deb."""

from __future__ import annotations

import subprocess
from pathlib import Path

from piimage.compose.layers import DebFile
from piimage.store import Store


def package(store: Store, folder: Path, name: str, files: dict[str, str]) -> DebFile:
    """A package with `files`: path to content, or to ``-> TARGET`` for a symbolic link."""
    root = folder / name
    (root / "DEBIAN").mkdir(parents=True)
    (root / "DEBIAN" / "control").write_text(
        f"Package: {name}\nVersion: 1\nArchitecture: arm64\nMaintainer: T <t@example.org>\n"
        "Description: test\n"
    )
    for path, content in files.items():
        target = root / path
        target.parent.mkdir(parents=True, exist_ok=True)
        if content.startswith("-> "):
            target.symlink_to(content.removeprefix("-> "))
        elif content.startswith("= "):
            target.hardlink_to(root / content.removeprefix("= "))
        else:
            target.write_text(content)
            target.chmod(0o755 if path.startswith(("bin", "usr/bin")) else 0o644)
    deb = folder / f"{name}.deb"
    subprocess.run(
        ["dpkg-deb", "--root-owner-group", "-b", root, deb], check=True, capture_output=True
    )
    return DebFile(name, store.add_bytes(deb.read_bytes()))
