"""Registers this host's qemu-user in the kernel, for programs of another architecture.

Debian 12 knows the emulators by update-binfmts, newer releases by the files of binfmt.d(5), which
systemd-binfmt registers at boot; a container or a minimal host has no systemd that would do it.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

from piimage.errors import PiimageError
from piimage.run import Runner

TABLE: Final = Path("/proc/sys/fs/binfmt_misc")
FOLDERS: Final = tuple(
    Path(name) for name in ("/etc/binfmt.d", "/run/binfmt.d", "/usr/lib/binfmt.d")
)


def register(name: str, runner: Runner) -> None:
    """Register the emulator `name`, such as ``qemu-aarch64``; do nothing if it is registered.

    Raises PiimageError if it is not installed, or if this user may not register it.
    """
    if not (TABLE / "register").exists():
        runner.run(["mount", "-t", "binfmt_misc", "binfmt_misc", TABLE])
    file = next((path for folder in FOLDERS if (path := folder / f"{name}.conf").exists()), None)
    if file is None:
        runner.run(["update-binfmts", "--enable", name])
        return
    if (TABLE / name).exists():
        return
    for line in file.read_text(encoding="latin-1").splitlines():
        if line.startswith(":"):
            _write(line)


def _write(line: str) -> None:
    try:
        with (TABLE / "register").open("w", encoding="latin-1") as file:
            file.write(line)
    except OSError as error:
        raise PiimageError(
            "oci.no-emulation", f"{TABLE / 'register'}: {error.strerror}",
            hint="run this once as root",
        ) from None  # fmt: skip
