"""The host's distribution, as os-release(5) names it, and the command that installs packages."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Final

ROOT: Final = Path("/")
_FILES: Final = ("etc/os-release", "usr/lib/os-release")

_FEDORA: Final = {
    "debian-archive-keyring": "debian-keyring",
    "device-tree-compiler": "dtc",
    "gpgv": "gnupg2",
    "openssh-client": "openssh-clients",
    "qemu-efi-aarch64": "edk2-aarch64",
    "qemu-system-arm": "qemu-system-aarch64",
    "qemu-utils": "qemu-img",
    "xz-utils": "xz",
}
"""Fedora's packages whose names are not Debian's."""


def os_release(host: Path = ROOT) -> Mapping[str, str]:
    """Return the fields of the os-release file of `host`; none if it has no such file."""
    for name in _FILES:
        try:
            lines = (host / name).read_text(errors="replace").splitlines()
        except OSError:
            continue
        pairs = (line.partition("=") for line in lines if "=" in line)
        return {key.strip(): value.strip().strip("\"'") for key, _, value in pairs}
    return {}


def install_hint(packages: Iterable[str], host: Path = ROOT) -> str:
    """Return the sentence that tells how to install `packages` (Debian's names) on `host`."""
    names = sorted(set(packages))
    pronoun = "it" if len(names) == 1 else "them"
    families = _families(host)
    if families & {"debian", "ubuntu"}:
        return f"install {pronoun} with: apt-get install {' '.join(names)}"
    if families & {"fedora", "rhel"}:
        translated = sorted({_FEDORA.get(name, name) for name in names})
        return f"install {pronoun} with: dnf install {' '.join(translated)}"
    return (
        f"install {pronoun} with this system's package manager (Debian's names: "
        f"{', '.join(names)}), or use piimage's container image (docs/install.md)"
    )


def _families(host: Path) -> frozenset[str]:
    fields = os_release(host)
    return frozenset([fields.get("ID", ""), *fields.get("ID_LIKE", "").split()])
