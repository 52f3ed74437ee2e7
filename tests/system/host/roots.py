"""Root file systems of Debian's releases as they are installed, without root's other files."""

from __future__ import annotations

import subprocess
from dataclasses import dataclass
from pathlib import Path

from tests.system.oci.engines import mirror

# What this machine needs to reach the network, if it has it: not part of the host under test.
_NETWORK = (
    *("/etc/resolv.conf", "/etc/hosts", "/etc/ssl/certs"),
    *("/etc/pip.conf", "/etc/xdg/pip"),
)


@dataclass(frozen=True)
class Root:
    """A root file system; commands in it see nothing of this machine but the folders `shared`."""

    folder: Path
    shared: tuple[tuple[Path, str], ...] = ()

    def run(self, *command: str, status: int = 0) -> subprocess.CompletedProcess[str]:
        """Run `command` as root in /root; it must end with `status`."""
        binds = [word for name in _NETWORK if Path(name).exists() for word in (name, name)]
        words = [
            w for pair in zip(binds[::2], binds[1::2], strict=True) for w in ("--ro-bind", *pair)
        ]
        words += [w for source, target in self.shared for w in ("--bind", str(source), target)]
        done = subprocess.run(
            ["bwrap", "--cap-add", "ALL", "--bind", self.folder, "/", "--proc", "/proc",
             "--dev", "/dev", *words, "--clearenv",
             "--setenv", "PATH", "/root/venv/bin:/usr/sbin:/usr/bin:/sbin:/bin",
             "--setenv", "HOME", "/root", "--setenv", "DEBIAN_FRONTEND", "noninteractive",
             "--setenv", "PIIMAGE_STORE", "/root/store", "--chdir", "/root", *command],
            capture_output=True, text=True, check=False, timeout=900,
        )  # fmt: skip
        assert done.returncode == status, done.stdout + done.stderr
        return done


def debian(folder: Path, release: str) -> Path:
    """Install `release` with apt, and Python with venv, as a minimal installation has them."""
    packages = ["--include=python3-venv,ca-certificates", "--dpkgopt=force-unsafe-io"]
    command = [
        "mmdebstrap",
        "-q",
        "--mode=root",
        "--variant=apt",
        *packages,
        release,
        folder,
        mirror(),
    ]
    subprocess.run(command, check=True, timeout=600)
    return folder
