"""The flash chips of an emulated machine with UEFI: its firmware, and the firmware's variables."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from piimage import distribution
from piimage.board import FlashChips
from piimage.emulator.drive import Drive
from piimage.errors import MissingTool
from piimage.run import Runner


@dataclass(frozen=True)
class Flash:
    """Two chips of QEMU's machine virt, each an image of the size that the machine wants."""

    code: Path
    variables: Path
    """The store of variables, which the guest changes."""

    def options(self) -> Sequence[str]:
        """Return QEMU's options for the two chips."""
        return (
            "-drive", f"if=pflash,unit=0,format=raw,readonly=on,file={_escaped(self.code)}",
            "-drive", f"if=pflash,unit=1,format=raw,file={_escaped(self.variables)}",
        )  # fmt: skip


def _escaped(path: Path) -> str:
    return str(path).replace(",", ",,")  # QEMU reads a doubled comma as a literal one


def require_firmware(chips: FlashChips | None, host: Path = distribution.ROOT) -> None:
    """Raise MissingTool ``emulator.no-firmware`` if this host has no firmware for the machine."""
    if chips is None:
        return
    for name in (chips.code, chips.variables):
        if not Path(name).is_file():
            raise MissingTool(
                "emulator.no-firmware",
                f"the emulated machine starts by UEFI, and this host has no {name}",
                hint=distribution.install_hint([chips.package], host),
            )


def flash_of(runner: Runner, chips: FlashChips, drive: Drive) -> Flash:
    """Return the chips for a machine with `drive`, which keep the variables of earlier starts.

    The variables are in a file beside that of the drive.
    """
    variables = drive.path.with_name(f"{drive.path.name}.variables")
    if not variables.exists():
        # Only the user may read what the guest stores.
        variables.touch(mode=0o600)
        runner.run(["cp", "--sparse=always", chips.variables, variables])
    return Flash(Path(chips.code), variables)
