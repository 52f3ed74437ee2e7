"""What the engine's tests need from the Debian mirror: buildx, and a program for arm64."""

from __future__ import annotations

import subprocess
from pathlib import Path

from piimage.errors import MissingTool
from piimage.oci.engine import find_buildx


def mirror() -> str:
    """The mirror of this host's own apt sources."""
    words = ["apt-get", "indextargets", "--format", "$(REPO_URI)", "Created-By: Packages"]
    said = subprocess.run([*words, "Origin: Debian"], check=True, capture_output=True, text=True)
    return next(uri for uri in said.stdout.split() if "security" not in uri)


def fetch(folder: Path, package: str, architecture: str) -> Path:
    """Unpack `package` of Debian 13, verified by apt, and return where it lies."""
    for name in ("parts", "lists/partial", "cache/archives/partial", "root"):
        (folder / name).mkdir(parents=True)
    (folder / "parts/debian.sources").write_text(
        f"Types: deb\nURIs: {mirror()}\nSuites: trixie\nComponents: main\n"
        "Signed-By: /usr/share/keyrings/debian-archive-keyring.gpg\n"
    )
    settings = {
        "APT::Architecture": architecture,
        "APT::Sandbox::User": "root",
        "Dir::Etc::sourcelist": "/dev/null",
        "Dir::Etc::sourceparts": folder / "parts",
        "Dir::State::lists": folder / "lists",
        "Dir::Cache": folder / "cache",
    }
    options = [word for name, value in settings.items() for word in ("-o", f"{name}={value}")]
    for command in (["update"], ["download", package]):
        subprocess.run(
            ["apt-get", "-q", *options, *command], check=True, capture_output=True, cwd=folder
        )
    (archive,) = folder.glob("*.deb")
    subprocess.run(["dpkg-deb", "-x", archive, folder / "root"], check=True)
    return folder / "root"


def buildx(folder: Path) -> Path:
    """The host's buildx, or where there is no package (Debian 12) that of Debian 13."""
    try:
        return find_buildx()
    except MissingTool:
        root = fetch(folder, "docker-buildx", "amd64")
        return find_buildx([root / "usr/libexec/docker/cli-plugins"])
